// Find and classify the events of one frame and print one line of CSV for each. For research use only.
//
//   node find_events.mjs MODEL.onnx FRAME.u16 WIDTHxHEIGHT [BACKGROUND SCALE] [--web]
//
// FRAME.u16 and the levels are described in ../README.md.
import { readFile } from 'node:fs/promises';
import { readLevels } from './levels.mjs';
import { openModel } from './runtime.mjs';

const web = process.argv.includes('--web');
const args = process.argv.slice(2).filter((arg) => arg !== '--web');
const [modelPath, framePath, size, background, scale] = args;
const [width, height] = (size ?? '').split('x').map(Number);
if ((args.length !== 3 && args.length !== 5) || !(width > 0 && height > 0)) {
  console.error('usage: node find_events.mjs MODEL.onnx FRAME.u16 WIDTHxHEIGHT [BACKGROUND SCALE] [--web]');
  process.exit(2);
}

const { ort, session, metadata } = await openModel(modelPath, web);
const classes = metadata.classes.split(',');
const kinds = metadata.kinds.split(',');
const channels = metadata.panel.split(',').length;

const bytes = await readFile(framePath);
if (bytes.length !== 2 * channels * height * width) {
  console.error(`error: ${framePath} does not hold ${channels} x ${height} x ${width} uint16 values`);
  process.exit(2);
}
const counts = new Uint16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const level = (name, text) => new ort.Tensor('float32', readLevels(name, text, channels), [channels]);

const events = await session.run({
  frame: new ort.Tensor('uint16', counts, [channels, height, width]),
  background: level('background', background),
  scale: level('scale', scale),
  max_events: new ort.Tensor('int64', BigInt64Array.of(BigInt(metadata.max_events)), [1]),
});

console.log(`# For research use only. Model ${metadata.name}, channels ${metadata.panel}`);
const more = events.truncated.data[0] ? ', more than were asked for' : '';
console.log(`# ${events.events_found.data[0]} events${more}; background ${events.background_used.data.join(',')}`);
const columns = ['x_px', 'y_px', 'diameter_um', 'kind', 'class', 'unassigned', 'atypicality'];
console.log([...columns, ...classes.map((name) => `p_${name}`)].join(','));
for (let row = 0; row < events.x_px.dims[0]; row++) {
  const p = events.probabilities.data.slice(row * classes.length, (row + 1) * classes.length);
  const best = p.reduce((most, value, k) => (value > p[most] ? k : most), 0);
  const place = ['x_px', 'y_px', 'diameter_um'].map((name) => events[name].data[row]);
  const call = [kinds[events.kind.data[row]], classes[best], events.unassigned.data[row], events.atypicality.data[row]];
  console.log([...place, ...call, ...p].join(','));
}
