// The built files: those that are in the repository are those that its sources give.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { optimise } from "../scripts/optimise.mjs";

const WEB = path.dirname(import.meta.dirname);
const ROOT = path.dirname(WEB);
const KEPT = path.join(ROOT, "python/timmy/dispatcher/web/static");
const FRESH = path.join(ROOT, "target/web-fresh");
const STALE = "run `make web` and commit python/timmy/dispatcher/web/static";
const sha256 = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");
const manifest = JSON.parse(readFileSync(path.join(KEPT, "manifest.json"), "utf8"));

test("the committed files are a fresh build's, byte for byte", () => {
  const list = (folder) =>
    readdirSync(folder).map((name) => [name, sha256(path.join(folder, name))]);
  assert.deepEqual(list(KEPT), list(FRESH), STALE);
});

test("the manifest tells their sizes and hashes", () => {
  const files = Object.values(manifest).map(({ file }) => file);
  assert.deepEqual([...files, "manifest.json"].sort(), readdirSync(KEPT).sort());
  for (const { file, sha256: hash, bytes } of Object.values(manifest)) {
    assert.equal(sha256(path.join(KEPT, file)), hash);
    assert.equal(readFileSync(path.join(KEPT, file)).length, bytes);
  }
});

test("what a page loads is at most 12 KB, gzipped", (t) => {
  const sum = (way) => Object.values(manifest).reduce((total, one) => total + one[way], 0);
  t.diagnostic(`gzip ${sum("gzip")}, brotli ${sum("brotli")}, bytes ${sum("bytes")}`);
  assert.ok(sum("gzip") <= 12_288, `${sum("gzip")} bytes`);
});

test("the module holds no path of the machine", () => {
  const wasm = readFileSync(path.join(KEPT, manifest["core_bg.wasm"].file), "latin1");
  assert.doesNotMatch(wasm, /\/(home|root|Users|tmp)\/|\.cargo|registry\/src/);
  assert.ok(!wasm.includes(ROOT));
});

test("another directory gives the same module", () => {
  const copy = mkdtempSync(path.join(tmpdir(), "elsewhere-"));
  try {
    const left = new Set(["target", "dist", "node_modules"]);
    const filter = (name) => !left.has(path.basename(name)) && !path.basename(name).startsWith(".");
    cpSync(ROOT, copy, { recursive: true, filter: (name) => name === ROOT || filter(name) });
    const made = path.join(copy, "made");
    const env = { ...process.env };
    delete env.CARGO_TARGET_DIR; // cargo takes what was built elsewhere for its own
    const program = path.join(ROOT, "target/debug/timmy-dispatcher-web-build");
    execFileSync(program, [made], { cwd: copy, env, stdio: "pipe" });
    optimise(path.join(made, "core_bg.wasm"), path.join(made, "core_bg.wasm"));
    for (const name of ["core_bg.wasm", "core.js", "core.d.ts"]) {
      assert.equal(sha256(path.join(made, name)), sha256(path.join(WEB, "core", name)), name);
    }
  } finally {
    rmSync(copy, { recursive: true });
  }
});

test("the module's tree holds nothing that does I/O, and no serde", () => {
  const features = ["--no-default-features", "--features", "wasm"];
  const target = ["--target", "wasm32-unknown-unknown"];
  const args = [
    "tree",
    "--locked",
    "--edges",
    "normal",
    "--prefix",
    "none",
    ...features,
    ...target,
  ];
  const tree = execFileSync("cargo", args, { cwd: ROOT, encoding: "utf8" });
  const names = tree.split("\n").map((line) => line.split(" ")[0]);
  assert.ok(names.includes("wasm-bindgen"));
  for (const name of ["tokio", "reqwest", "serde", "serde_core", "serde_json", "pyo3"]) {
    assert.ok(!names.includes(name), name);
  }
});
