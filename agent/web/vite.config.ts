// Builds into dist/, which is committed. The names of files are fixed, because the agent has a table of them.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

const ROOT = import.meta.dirname;
const SINGLE = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"];

/** FNV-1a over the names and contents of all sources; a unit test of the agent compares it (`agent/src/api/ui.rs`). */
function hashOfSources(): string {
  const below = (dir: string): string[] =>
    readdirSync(join(ROOT, dir), { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? below(`${dir}/${entry.name}`) : [`${dir}/${entry.name}`],
    );
  const names = [...SINGLE, ...below("src"), ...below("public")].sort();
  let hash = 0xcbf29ce484222325n;
  for (const name of names)
    for (const bytes of [Buffer.from(name), readFileSync(join(ROOT, name))])
      for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return hash.toString(16).padStart(16, "0");
}

const sources: Plugin = {
  name: "sources",
  apply: "build",
  closeBundle() {
    writeFileSync(join(ROOT, "dist/sources.txt"), `${hashOfSources()}\n`);
  },
};

const agent = process.env.NETSPAN_AGENT ?? "http://127.0.0.1:4410";

export default defineConfig({
  plugins: [sources],
  build: {
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    reportCompressedSize: true,
    rollupOptions: {
      output: {
        entryFileNames: "assets/app.js",
        chunkFileNames: "assets/app-[name].js",
        assetFileNames: "assets/app[extname]",
        codeSplitting: false,
      },
    },
  },
  server: { host: "127.0.0.1", port: 4411, proxy: { "/v1": { target: agent, changeOrigin: true } } },
});
