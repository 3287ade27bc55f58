// Classify crops and print one line of CSV for each. For research use only.
//
//   node classify_crops.mjs MODEL.onnx CROPS.u16 [BACKGROUND SCALE] [--web]
//
// CROPS.u16 holds raw counts, little-endian uint16, crop after crop, channel after channel in the order of the model's
// panel, row after row; sizes as in the model's metadata. BACKGROUND and SCALE are the cartridge's levels in counts,
// one number per channel, as 55,53.5,51,52,47; left out, the model's own are used.
import { readFile } from 'node:fs/promises';
import { readLevels } from './levels.mjs';
import { openModel } from './runtime.mjs';

const BATCH = 64;

const web = process.argv.includes('--web');
const args = process.argv.slice(2).filter((arg) => arg !== '--web');
if (args.length !== 2 && args.length !== 4) {
  console.error('usage: node classify_crops.mjs MODEL.onnx CROPS.u16 [BACKGROUND SCALE] [--web]');
  process.exit(2);
}
const [modelPath, cropsPath, background, scale] = args;

const { ort, session, metadata } = await openModel(modelPath, web);
const classes = metadata.classes.split(',');
const channels = metadata.panel.split(',').length;
const side = Number(metadata.crop_size_px);

const bytes = await readFile(cropsPath);
const valuesPerCrop = channels * side * side;
const count = bytes.length / (2 * valuesPerCrop);
if (!Number.isInteger(count)) {
  console.error(`error: ${cropsPath} holds no whole number of crops of ${channels} x ${side} x ${side} uint16 values`);
  process.exit(2);
}
const counts = new Uint16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));

const level = (name, text) => new ort.Tensor('float32', readLevels(name, text, channels), [channels]);
const levels = { background: level('background', background), scale: level('scale', scale) };

console.log(`# For research use only. Model ${metadata.name}, channels ${metadata.panel}`);
console.log(['crop', 'class', 'unassigned', 'atypicality', ...classes.map((name) => `p_${name}`)].join(','));
for (let start = 0; start < count; start += BATCH) {
  const size = Math.min(BATCH, count - start);
  const crops = counts.subarray(start * valuesPerCrop, (start + size) * valuesPerCrop);
  const answers = await session.run({
    crops: new ort.Tensor('uint16', crops, [size, channels, side, side]),
    ...levels,
  });
  for (let row = 0; row < size; row++) {
    const p = answers.probabilities.data.slice(row * classes.length, (row + 1) * classes.length);
    const best = p.reduce((most, value, k) => (value > p[most] ? k : most), 0);
    console.log([start + row, classes[best], answers.unassigned.data[row], answers.atypicality.data[row], ...p].join(','));
  }
}
