/** The style sheet `virtual:mantine.css`: Mantine's variables, reckoned once by the build
 * (src/mantineStyles.ts) and not by each page at its start. */
import type { Plugin } from "vite";
import { mantineStyles } from "./src/mantineStyles";

const SHEET = "virtual:mantine.css";

export function mantine(): Plugin {
  return {
    name: "fluxhive-mantine",
    resolveId: (id) => (id === SHEET ? id : undefined),
    load: (id) => (id === SHEET ? mantineStyles() : undefined),
  };
}
