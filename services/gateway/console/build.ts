/** Builds the console: `node build.ts FOLDER`. What is in FOLDER is replaced at once, when everything is made. */

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";

const target = process.argv[2];
if (target === undefined) throw new Error("Say where to: node build.ts FOLDER");
const made = `${target}.new`;
rmSync(made, { recursive: true, force: true });
mkdirSync(made, { recursive: true });

const { metafile } = await build({
  absWorkingDir: import.meta.dirname,
  entryPoints: { app: "src/main.tsx", boot: "src/boot.ts", style: "src/styles/index.css", icon: "src/icon.svg" },
  outdir: join(made, "assets"),
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  loader: { ".woff2": "file", ".svg": "copy" },
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "inline",
  metafile: true,
});

const names = Object.keys(metafile.outputs).map((path) => basename(path));
const page = readFileSync(join(import.meta.dirname, "src/index.html"), "utf8").replace(/\{\{(\w+)\.(\w+)\}\}/g, (_, name, suffix) => {
  const found = names.find((one) => one.startsWith(`${name}-`) && one.endsWith(`.${suffix}`));
  if (found === undefined) throw new Error(`Nothing was built for ${name}.${suffix}`);
  return `/console/assets/${found}`;
});
writeFileSync(join(made, "index.html"), page);

for (const path of [join(made, "index.html"), ...readdirSync(join(made, "assets")).map((name) => join(made, "assets", name))]) {
  if (path.endsWith(".woff2")) continue; // compressed by its format
  const body = readFileSync(path);
  writeFileSync(`${path}.br`, brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
  writeFileSync(`${path}.gz`, gzipSync(body, { level: 9 }));
}
rmSync(target, { recursive: true, force: true });
renameSync(made, target);
