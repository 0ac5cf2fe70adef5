// The built files: those that are in the repository are those that its sources give.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
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

const FIRST = ["task-type-preview.js", "core_bg.wasm"];
const RANKED = ["ranked-view.js", "ranked_bg.wasm"];
const sum = (names, way) => names.reduce((total, name) => total + manifest[name][way], 0);
const tell = (t, names) => {
  const [gzip, brotli, bytes] = ["gzip", "brotli", "bytes"].map((way) => sum(names, way));
  t.diagnostic(`gzip ${gzip}, brotli ${brotli}, bytes ${bytes}`);
  return gzip;
};

test("what a page loads is at most 12 KB, gzipped, and no more than before there was ranking", (t) => {
  const gzip = tell(t, FIRST);
  assert.ok(gzip <= 12_288, `${gzip} bytes`);
  assert.ok(sum(["core_bg.wasm"], "gzip") <= 7_478);
  assert.ok(sum(["task-type-preview.js"], "gzip") <= 4_387);
  assert.deepEqual(Object.keys(manifest).sort(), [...FIRST, ...RANKED, "server.js"].sort());
});

test("what ranks is at most 40 KB, gzipped, and a model of 150 KB", (t) => {
  const gzip = tell(t, RANKED);
  assert.ok(gzip <= 40_960, `${gzip} bytes`);
  const model = gzipSync(readFileSync(path.join(WEB, "core/model.bin")), { level: 9 }).length;
  t.diagnostic(`model ${model}`);
  assert.ok(model <= 153_600, `${model} bytes`);
});

test("the modules hold no path of the machine", () => {
  for (const name of ["core_bg.wasm", "ranked_bg.wasm"]) {
    const wasm = readFileSync(path.join(KEPT, manifest[name].file), "latin1");
    assert.doesNotMatch(wasm, /\/(home|root|Users|tmp)\/|\.cargo|registry\/src/);
    assert.ok(!wasm.includes(ROOT));
  }
});

test("another directory gives the same modules", () => {
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
    for (const module of ["core", "ranked"]) {
      const wasm = path.join(made, `${module}_bg.wasm`);
      optimise(wasm, wasm);
      for (const name of [`${module}_bg.wasm`, `${module}.js`, `${module}.d.ts`]) {
        assert.equal(sha256(path.join(made, name)), sha256(path.join(WEB, "core", name)), name);
      }
    }
  } finally {
    rmSync(copy, { recursive: true });
  }
});

for (const feature of ["wasm", "wasm-rank"]) {
  test(`the tree of ${feature} holds nothing that does I/O, and no serde`, () => {
    const args = ["tree", "--locked", "--edges", "normal", "--prefix", "none"];
    args.push("--no-default-features", "--features", feature);
    args.push("--target", "wasm32-unknown-unknown");
    const tree = execFileSync("cargo", args, { cwd: ROOT, encoding: "utf8" });
    const names = tree.split("\n").map((line) => line.split(" ")[0]);
    assert.ok(names.includes("wasm-bindgen"));
    for (const name of ["tokio", "reqwest", "serde", "serde_core", "serde_json", "pyo3"]) {
      assert.ok(!names.includes(name), name);
    }
  });
}
