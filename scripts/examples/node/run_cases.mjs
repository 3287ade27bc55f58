// Run a model on a folder of prepared inputs and keep the raw outputs, to compare runtimes with each other.
//
//   node run_cases.mjs MODEL.onnx CASES OUT [--web]
//
// CASES/cases.json and OUT/answers.json are as in ../python/run_cases.py, which does the same in Python.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { openModel } from './runtime.mjs';

const ARRAYS = {
  uint8: Uint8Array, bool: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array,
  int64: BigInt64Array, float32: Float32Array, float64: Float64Array,
};

const [model, folder, out] = process.argv.slice(2);
const web = process.argv.includes('--web');
const { ort, session } = await openModel(model, web);
const files = new Map();
await mkdir(out, { recursive: true });

async function tensor({ dtype, shape, file, offset }) {
  if (!files.has(file)) files.set(file, await readFile(path.join(folder, file)));
  const size = shape.reduce((a, b) => a * b, 1);
  const bytes = files.get(file).subarray(offset, offset + size * ARRAYS[dtype].BYTES_PER_ELEMENT);
  const aligned = new Uint8Array(bytes).buffer;
  return new ort.Tensor(dtype, new ARRAYS[dtype](aligned), shape);
}

const cases = JSON.parse(await readFile(path.join(folder, 'cases.json'), 'utf8'));
const chunks = [];
let place = 0;
const answers = [];
for (const [number, { name, inputs }] of cases.entries()) {
  const answer = { name };
  try {
    const feed = {};
    for (const [input, description] of Object.entries(inputs)) feed[input] = await tensor(description);
    const found = await session.run(feed);
    answer.outputs = {};
    for (const [output, { type, dims, data }] of Object.entries(found)) {
      answer.outputs[output] = { dtype: type, shape: dims, file: 'outputs.bin', offset: place };
      chunks.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
      place += data.byteLength;
    }
  } catch (error) {
    answer.error = String(error.message ?? error);
  }
  answers.push(answer);
  if (number % 50 === 49 || number + 1 === cases.length) console.error(`${number + 1} of ${cases.length}`);
}
await writeFile(path.join(out, 'outputs.bin'), Buffer.concat(chunks));
const version = web ? ort.env.versions.web : ort.env.versions.node;
const runtime = `onnxruntime-${web ? 'web' : 'node'} ${version}`;
await writeFile(path.join(out, 'answers.json'), JSON.stringify({ runtime, answers }));
