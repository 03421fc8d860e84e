/** For the server: which files each view needs besides those of the page, and all of them packed.
 *
 * `views.json` says it by the first word of a view's address. The script `first.ts`, which draws
 * what the page knows already, is built by itself, in one file, and stands in the page before the
 * others: as a second entry of the same build it would tear what both use into dozens of files.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { build, type Plugin, type Rolldown } from "vite";

const VIEWS: Record<string, string> = {
  diff: "diff/DiffPage.tsx",
  nodes: "nodes/NodesPage.tsx",
  "sign-in": "sign-in/SignIn.tsx",
  submit: "submit/SubmitPage.tsx",
  t: "task/TaskPage.tsx",
  tasks: "tasks/TasksPage.tsx",
  tokens: "tokens/TokensPage.tsx",
};
/** Smaller files fit in a packet either way. */
const PACKED_FROM_BYTES = 1_000;

type Bundle = Rolldown.OutputBundle;

export function views(): Plugin {
  return {
    name: "fluxhive-views",
    apply: "build",
    enforce: "post",
    async buildStart() {
      const made = await build({
        configFile: false,
        logLevel: "warn",
        build: { write: false, rolldownOptions: { input: "src/first.ts" } },
      });
      const files = [made].flat().flatMap((one) => ("output" in one ? one.output : []));
      const [chunk, ...others] = files.filter((one) => one.type === "chunk");
      if (!chunk || others.length > 0) throw new Error("first.ts is not one file");
      this.emitFile({ type: "asset", name: "first.js", source: chunk.code });
    },
    transformIndexHtml: {
      order: "post",
      handler: (_html, { bundle }) => {
        const first = Object.keys(bundle ?? {}).find((name) => /first-[^/]+\.js$/.test(name));
        if (!first) throw new Error("the build made no first.js");
        const src = `/${first}`;
        return [
          { tag: "link", attrs: { rel: "modulepreload", href: src }, injectTo: "head-prepend" },
          { tag: "script", attrs: { type: "module", async: true, src }, injectTo: "body" },
        ];
      },
    },
    generateBundle(_options, bundle) {
      const chunks = Object.values(bundle).filter((one) => one.type === "chunk");
      const entry = chunks.find((chunk) => chunk.isEntry && chunk.name === "index");
      if (!entry) throw new Error("the build made no `index`");
      const known = new Set(filesOf(entry.fileName, bundle));
      const found: Record<string, string[]> = {};
      for (const [view, page] of Object.entries(VIEWS)) {
        const chunk = chunks.find((one) => one.facadeModuleId?.endsWith(`/pages/${page}`));
        if (!chunk) throw new Error(`the build made no file of ${page}`);
        found[view] = filesOf(chunk.fileName, bundle).filter((file) => !known.has(file));
      }
      this.emitFile({ type: "asset", fileName: "views.json", source: JSON.stringify(found) });
    },
    writeBundle({ dir = "." }) {
      const folder = join(dir, "assets");
      for (const name of readdirSync(folder)) {
        const data = /\.(js|css)$/.test(name) ? readFileSync(join(folder, name)) : undefined;
        if (data && data.length >= PACKED_FROM_BYTES)
          writeFileSync(join(folder, `${name}.br`), brotliCompressSync(data));
      }
    },
  };
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
