/** Writes a job into the memory that all threads share, as job.ts reads it. */
import {
  BLOCK_STEP,
  BLOCKS,
  CALL_WORDS,
  HEAD,
  ID,
  PART_WORDS,
  SCRATCH,
  SCRATCH_STEP,
  STATUS,
  WAVE,
  WAVES,
} from "./job.js";
import type { Part } from "./program.js";

const ALIGNMENT = 64;
const rounded = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Bytes that a job takes, and what writes it there. */
export function layOut(
  id: number,
  waves: readonly (readonly Part[])[],
  blockBytes: number,
  hands: number,
): { bytes: number; write(pointer: number, words: Int32Array, bytes: Uint8Array): void } {
  const parts = waves.flat();
  const calls = parts.flat();
  const partsAt = HEAD + waves.length + 1;
  const callsAt = partsAt + PART_WORDS * parts.length;
  const blocksAt = rounded(4 * (callsAt + CALL_WORDS * calls.length));
  const blockStep = rounded(blockBytes);
  const scratchAt = blocksAt + blockStep * calls.length;
  const scratchStep = rounded(calls.reduce((most, { scratch }) => Math.max(most, scratch), 0));
  const write = (pointer: number, words: Int32Array, bytes: Uint8Array): void => {
    const job = pointer >>> 2;
    words[job + WAVE] = words[job + STATUS] = 0;
    words[job + WAVES] = waves.length;
    words[job + ID] = id;
    words[job + SCRATCH] = pointer + scratchAt;
    words[job + SCRATCH_STEP] = scratchStep;
    words[job + BLOCKS] = pointer + blocksAt;
    words[job + BLOCK_STEP] = blockStep;
    let end = 0;
    words[job + HEAD] = 0;
    waves.forEach((wave, i) => {
      end += wave.length;
      words[job + HEAD + i + 1] = end;
    });
    end = 0;
    parts.forEach((part, i) => {
      words.set([0, end, end + part.length], job + partsAt + PART_WORDS * i);
      end += part.length;
    });
    calls.forEach(({ kernel, block, scratchAt: place, scratch }, i) => {
      words.set([kernel, scratch > 0 ? place : 0], job + callsAt + CALL_WORDS * i);
      bytes.set(block, pointer + blocksAt + blockStep * i);
    });
  };
  return { bytes: scratchAt + scratchStep * hands, write };
}
