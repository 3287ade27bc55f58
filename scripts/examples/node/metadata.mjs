// The metadata of an ONNX file. Neither onnxruntime-node nor onnxruntime-web hands it out, so it is read from the file.

const METADATA_PROPS = 14; // field of ModelProto in onnx.proto; an entry has the fields key = 1 and value = 2
const VARINT = 0;
const BYTES = 2;

/** Metadata properties of a model given as the bytes of its file: an object of strings. */
export function readMetadata(model) {
  const properties = {};
  for (const [field, entry] of fields(model)) {
    if (field !== METADATA_PROPS) continue;
    const [key, value] = [...fields(entry)].map(([, bytes]) => bytes.toString('utf8'));
    properties[key] = value ?? '';
  }
  return properties;
}

/** Fields of a protobuf message in their order: [number, bytes], or [number, BigInt] of a whole number. */
function* fields(bytes) {
  let place = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (place >= bytes.length || shift > 63n) throw new Error('no ONNX file: a number in it does not end');
      const byte = bytes[place++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (place < bytes.length) {
    const tag = Number(varint());
    const [field, type] = [Math.floor(tag / 8), tag % 8];
    if (type !== VARINT && type !== BYTES) throw new Error(`no ONNX file: field ${field} has the wire type ${type}`);
    const value = varint();
    if (type === VARINT) {
      yield [field, value];
      continue;
    }
    const end = place + Number(value);
    if (end > bytes.length) throw new Error('no whole ONNX file: it ends within a field');
    yield [field, bytes.subarray(place, end)];
    place = end;
  }
}
