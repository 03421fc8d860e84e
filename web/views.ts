/** For the server: which files each view needs besides those of the page, and all of them packed.
 *
 * `views.json` says it by the first word of a view's address, and `frames.json` in the same way what
 * is seen of a view before its script has come (frame.ts). The script `first.ts` is built by itself,
 * in one file, and stands in the page's head: as a second entry of the same build it would tear what
 * both use into dozens of files.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { build, type Plugin, type Rolldown } from "vite";

const VIEWS: Record<string, string> = {
  "": "overview/Overview.tsx",
  diff: "diff/DiffPage.tsx",
  nodes: "nodes/NodesPage.tsx",
  "sign-in": "sign-in/SignIn.tsx",
  submit: "submit/SubmitPage.tsx",
  t: "task/TaskPage.tsx",
  tasks: "tasks/TasksPage.tsx",
  tokens: "tokens/TokensPage.tsx",
};
/** Stands for an address at which nothing is. */
const ASTRAY = "*";
/** Where the page is drawn, and what stands there for the server to replace by the view's frame. */
const ROOT = '<div id="root">';
const FRAME_MARK = "__FRAME__";
/** At the beginning of a script: Chromium compiles all of it in another thread while it comes. Else
 * the page's own thread compiles each function at its first call, having read over it once before. */
const EAGER = "//# allFunctionsCalledOnLoad\n";
/** Smaller files fit in a packet either way. */
const PACKED_FROM_BYTES = 1_000;

type Bundle = Rolldown.OutputBundle;

export function views(): Plugin {
  let frames: Record<string, string> = {};
  /** Scripts that run at once, in full: that of all pages, and each page's own. */
  const eager = new Set<string>();
  return {
    name: "fluxhive-views",
    apply: "build",
    enforce: "post",
    async buildStart() {
      const source = await alone("src/first.ts", { format: "iife" });
      this.emitFile({ type: "asset", name: "first.js", source });
      const frame = await alone("src/frame.ts", { format: "es", preserve: true });
      const made = await import(`data:text/javascript,${encodeURIComponent(frame)}`);
      frames = made.frames([...Object.keys(VIEWS), ASTRAY]);
    },
    transformIndexHtml: {
      order: "post",
      handler: (html, { bundle }) => {
        const first = Object.keys(bundle ?? {}).find((name) => /first-[^/]+\.js$/.test(name));
        if (!first) throw new Error("the build made no first.js");
        // Before the style sheets: it would else wait for them, and with it all that is drawn.
        const tags = [
          { tag: "script", attrs: { src: `/${first}` }, injectTo: "head-prepend" as const },
        ];
        return { html: html.replace(ROOT, `${ROOT}${FRAME_MARK}`), tags };
      },
    },
    generateBundle(_options, bundle) {
      const chunks = Object.values(bundle).filter((one) => one.type === "chunk");
      const entry = chunks.find((chunk) => chunk.isEntry && chunk.name === "index");
      if (!entry) throw new Error("the build made no `index`");
      const known = new Set(filesOf(entry.fileName, bundle));
      eager.add(entry.fileName);
      const found: Record<string, string[]> = {};
      for (const [view, page] of Object.entries(VIEWS)) {
        const chunk = chunks.find((one) => one.moduleIds.some((id) => id.endsWith(`/pages/${page}`)));
        if (!chunk) throw new Error(`the build made no file of ${page}`);
        eager.add(chunk.fileName);
        found[view] = filesOf(chunk.fileName, bundle).filter((file) => !known.has(file));
      }
      this.emitFile({ type: "asset", fileName: "views.json", source: JSON.stringify(found) });
      this.emitFile({ type: "asset", fileName: "frames.json", source: JSON.stringify(frames) });
    },
    writeBundle({ dir = "." }) {
      // Here, for Vite has by now put before a script what it puts there.
      for (const file of eager) {
        const path = join(dir, file);
        writeFileSync(path, EAGER + readFileSync(path, "utf8"));
      }
      const folder = join(dir, "assets");
      for (const name of readdirSync(folder)) {
        const data = /\.(js|css)$/.test(name) ? readFileSync(join(folder, name)) : undefined;
        if (data && data.length >= PACKED_FROM_BYTES)
          writeFileSync(join(folder, `${name}.br`), brotliCompressSync(data));
      }
    },
  };
}

/** One module with all that it imports as one script. `preserve`: with what it exports. */
async function alone(
  input: string,
  { format, preserve = false }: { format: "es" | "iife"; preserve?: boolean },
): Promise<string> {
  const made = await build({
    configFile: false,
    logLevel: "warn",
    build: {
      write: false,
      rolldownOptions: {
        input,
        output: { format },
        preserveEntrySignatures: preserve ? "strict" : false,
      },
    },
  });
  const files = [made].flat().flatMap((one) => ("output" in one ? one.output : []));
  const [chunk, ...others] = files.filter((one) => one.type === "chunk");
  if (!chunk || others.length > 0) throw new Error(`${input} is not one file`);
  return chunk.code;
}

/** A chunk's own file, its style sheets, and those of all that it imports at once. */
function filesOf(fileName: string, bundle: Bundle, found = new Set<string>()): string[] {
  const chunk = bundle[fileName];
  if (chunk?.type !== "chunk" || found.has(fileName)) return [...found];
  found.add(fileName);
  for (const style of chunk.viteMetadata?.importedCss ?? []) found.add(style);
  for (const imported of chunk.imports) filesOf(imported, bundle, found);
  return [...found];
}
