import { env } from "node:process";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import { mantine } from "./mantine";
import { views } from "./views";

/** The server that `npm run dev` asks; `FLOWHIVE_DEV_TOKEN` stands for a login there. */
const server = env.FLOWHIVE_CONTROL_URL ?? "http://127.0.0.1:8001";
const token = env.FLOWHIVE_DEV_TOKEN;

/** The server takes only what comes from its own pages. */
const headers: Record<string, string> = { origin: server };
if (token) headers.authorization = `Bearer ${token}`;

export default defineConfig({
  plugins: [react(), mantine(), views()],
  html: { cspNonce: "__CSP_NONCE__" },
  build: {
    outDir: env.FLOWHIVE_WEB_OUT ?? "../fluxhive/server/static/dashboard",
    emptyOutDir: true,
    // A file inside a style sheet would be an address that the content security policy refuses.
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        entryFileNames: "assets/[name]-[hash].js",
        // What every page needs comes in one file: each further one waits for its turn on one of
        // the six lines that a browser opens.
        codeSplitting: { groups: [{ name: "base", tags: ["$initial"] }] },
      },
    },
  },
  server: {
    port: 5173,
    proxy: {
      "/api": {
        target: server,
        ws: true,
        // It compares a page's origin with the host that is asked.
        changeOrigin: true,
        headers,
        configure: (proxy) => {
          proxy.on("proxyReqWs", (request) => {
            for (const [name, value] of Object.entries(headers)) request.setHeader(name, value);
          });
        },
      },
    },
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
