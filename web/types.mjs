// Makes src/api/schema.d.ts of what the server says of its API. Started by node itself and not by
// `npm run` within another script: the npm of the package index does not start under its own name.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const flags = ["--root-types", "--root-types-no-schema-prefix", "--default-non-nullable", "false"];
execFileSync(
  process.execPath,
  [
    here("node_modules/openapi-typescript/bin/cli.js"),
    here("../docs/reference/openapi.json"),
    "--output",
    here("src/api/schema.d.ts"),
    ...flags,
  ],
  { stdio: "inherit" },
);
