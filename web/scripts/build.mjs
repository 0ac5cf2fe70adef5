// From what the build program left in target/web: web/core and web/types for the npm package, and
// the files that the Python package serves, with their manifest, into the folder in the argument.
// The model is not among these: a Python program serves the one that it ranks by.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { optimise } from "./optimise.mjs";

const web = path.dirname(import.meta.dirname);
const made = path.join(web, "../target/web");
const core = path.join(web, "core");
const served = path.resolve(process.argv[2]);

mkdirSync(core, { recursive: true });
for (const module of ["core", "ranked"]) {
  for (const name of [`${module}.js`, `${module}.d.ts`])
    copyFileSync(path.join(made, name), path.join(core, name));
  optimise(path.join(made, `${module}_bg.wasm`), path.join(core, `${module}_bg.wasm`));
}
copyFileSync(path.join(web, "../src/rank/model.bin"), path.join(core, "model.bin"));
rmSync(path.join(web, "types"), { recursive: true, force: true });
execFileSync(path.join(web, "node_modules/.bin/tsc"), ["--project", web], { stdio: "inherit" });

const bundle = await rolldown({
  input: path.join(web, "src/element.js"),
  platform: "browser",
  transform: { target: "es2022" },
  preserveEntrySignatures: "allow-extension",
  experimental: { resolveNewUrlToAsset: true },
  plugins: [
    {
      name: "without-model",
      load: (id) =>
        id === path.join(web, "src/model.js") ? "export const MODEL = undefined;" : null,
    },
    {
      name: "tight-css",
      transform: (code) => code.replace(/const CSS_TEXT = `[^`]*`/, tight),
    },
  ],
});
rmSync(served, { recursive: true, force: true });
await bundle.write({
  dir: served,
  minify: true,
  comments: false,
  entryFileNames: "task-type-preview.[hash].js",
  chunkFileNames: "[name].[hash].js",
  assetFileNames: "[name].[hash][extname]",
});

/** A style sheet's spaces are for its readers. @param {string} css */
function tight(css) {
  return css
    .replace(/\s+/g, " ")
    .replace(/ ?([{};,]) ?/g, "$1")
    .replaceAll(": ", ":");
}

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
