// Levels of a cartridge as they stand on the command line.

/** Float32Array of one number per channel from "55,53.5,51"; NaN, "the model's own", where there is no text. */
export function readLevels(text, channels) {
  if (text === undefined) return new Float32Array(channels).fill(NaN);
  const parts = text.split(',').map((part) => part.trim());
  const wrong = parts.some((part) => part === '' || (Number.isNaN(Number(part)) && part.toLowerCase() !== 'nan'));
  if (wrong || parts.length !== channels) {
    console.error(`error: levels ${text} are not ${channels} numbers, one per channel`);
    process.exit(2);
  }
  return Float32Array.from(parts, Number);
}
