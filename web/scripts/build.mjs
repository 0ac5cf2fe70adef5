// From what the build program left in target/web: web/core and web/types for the npm package, and
// the files that the Python package serves, with their manifest, into the folder in the argument.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { build } from "vite";
import { optimise } from "./optimise.mjs";

const web = path.dirname(import.meta.dirname);
const made = path.join(web, "../target/web");
const core = path.join(web, "core");
const served = path.resolve(process.argv[2]);

mkdirSync(core, { recursive: true });
for (const name of ["core.js", "core.d.ts"])
  copyFileSync(path.join(made, name), path.join(core, name));
optimise(path.join(made, "core_bg.wasm"), path.join(core, "core_bg.wasm"));
rmSync(path.join(web, "types"), { recursive: true, force: true });
execFileSync(path.join(web, "node_modules/.bin/tsc"), ["--project", web], { stdio: "inherit" });

await build({
  root: web,
  configFile: false,
  logLevel: "warn",
  base: "./",
  build: {
    outDir: served,
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: false,
    target: "es2022",
    rolldownOptions: {
      input: "src/element.js",
      preserveEntrySignatures: "strict",
      output: {
        entryFileNames: "task-type-preview.[hash].js",
        assetFileNames: "[name].[hash][extname]",
      },
    },
  },
});

const manifest = {};
for (const name of readdirSync(served).sort()) {
  const bytes = readFileSync(path.join(served, name));
  manifest[name.replace(/\.[^.]+\./, ".")] = {
    file: name,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    bytes: bytes.length,
    gzip: gzipSync(bytes, { level: 9 }).length,
    brotli: brotliCompressSync(bytes).length,
  };
}
writeFileSync(path.join(served, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
console.table(manifest, ["file", "bytes", "gzip", "brotli"]);
