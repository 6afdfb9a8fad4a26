// Compiles contracts/*.sol into artifacts/*.json with the solc that package-lock.json pins.
//
//   npm ci                        install the compiler beside this file
//   node compile.mjs              write the artefacts
//   node compile.mjs --check      compare instead of writing; exit 1 names every artefact that differs
//
// No metadata is appended to the bytecode, so comments and paths do not change it.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import solc from "solc";

const here = new URL(".", import.meta.url);
const contracts = new URL("contracts/", here);
const artifacts = new URL("artifacts/", here);

// What is placed on a chain; the other sources are parts of these.
const DEPLOYED = [
  "ContractAccount",
  "ExactPermit2Proxy",
  "Multicall3",
  "Permit2",
  "TEERegistry",
  "Token",
  "UptoPermit2Proxy",
];

const settings = {
  evmVersion: "cancun",
  optimizer: { enabled: true, runs: 200 },
  viaIR: true,
  metadata: { appendCBOR: false, bytecodeHash: "none" },
};

function compile() {
  const sources = Object.fromEntries(
    readdirSync(contracts)
      .filter((file) => file.endsWith(".sol"))
      .sort()
      .map((file) => [file, { content: readFileSync(new URL(file, contracts), "utf8") }]),
  );
  const outputSelection = { "*": { "*": ["abi", "evm.deployedBytecode.object", "storageLayout"] } };
  const input = { language: "Solidity", sources, settings: { ...settings, outputSelection } };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  for (const { formattedMessage } of output.errors ?? []) console.error(formattedMessage);
  if (output.errors?.length) process.exit(1);
  return output.contracts;
}

function artifact(name, { abi, evm, storageLayout }) {
  const storage = Object.fromEntries(storageLayout.storage.map(({ label, slot }) => [label, Number(slot)]));
  const deployedBytecode = `0x${evm.deployedBytecode.object}`;
  const content = { contract: name, compiler: `solc ${solc.version()}`, settings, storage, abi, deployedBytecode };
  return `${JSON.stringify(content, null, 1)}\n`;
}

function existing(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return null;
  }
}

const check = process.argv.includes("--check");
const compiled = compile();
let differing = 0;
for (const name of DEPLOYED) {
  const file = new URL(`${name}.json`, artifacts);
  const content = artifact(name, compiled[`${name}.sol`][name]);
  if (content === existing(file)) {
    console.log(`${name}: same bytes`);
  } else if (check) {
    console.log(`${name}: differs`);
    differing += 1;
  } else {
    writeFileSync(file, content);
    console.log(`${name}: written`);
  }
}
process.exit(differing ? 1 : 0);
