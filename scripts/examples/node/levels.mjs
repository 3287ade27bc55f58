// Levels of a cartridge as they stand on the command line.

/**
 * Float32Array of one number per channel from "55,53.5,51"; NaN, "the model's own", where there is no text and for nan.
 * `name` is "background" or "scale". The graph checks the number of levels alone.
 */
export function readLevels(name, text, channels) {
  if (text === undefined) return new Float32Array(channels).fill(NaN);
  const parts = text.split(',').map((part) => part.trim());
  const values = Float32Array.from(parts, (part) => (/^[-+.\de]+$/i.test(part) ? Number(part) : NaN));
  const right = (value, k) => /^nan$/i.test(parts[k]) || (Number.isFinite(value) && (name !== 'scale' || value > 0));
  if (parts.length !== channels || !values.every(right)) {
    console.error(`error: ${name} ${text} is not ${channels} numbers, one per channel, none infinite and a scale above 0`);
    process.exit(2);
  }
  return values;
}
