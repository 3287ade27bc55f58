// A model in Node.js, through onnxruntime-node (native) or onnxruntime-web (WebAssembly), one thread.
import { readFile } from 'node:fs/promises';
import { readMetadata } from './metadata.mjs';

/** Open a model; `web` chooses onnxruntime-web. Gives the package's module, the session and the file's metadata. */
export async function openModel(path, web) {
  const ort = await import(web ? 'onnxruntime-web' : 'onnxruntime-node');
  if (web) ort.env.wasm.numThreads = 1;
  const model = await readFile(path);
  const session = await ort.InferenceSession.create(model, {
    executionProviders: [web ? 'wasm' : 'cpu'],
    intraOpNumThreads: 1,
    logSeverityLevel: 4,
  });
  return { ort, session, metadata: readMetadata(model) };
}
