/** Where somebody goes after signing in. Pure. */

/** A path of this server, or undefined: a link must not lead elsewhere. */
export function pathOfOurs(value: unknown, origin: string): string | undefined {
  if (typeof value !== "string" || !value.startsWith("/")) return undefined;
  // As browsers read it: they take `\` for `/`, and drop tabs and line feeds.
  let url: URL;
  try {
    url = new URL(value, origin);
  } catch {
    return undefined;
  }
  if (url.origin !== origin || url.pathname.startsWith("//")) return undefined;
  return url.pathname + url.search + url.hash;
}
