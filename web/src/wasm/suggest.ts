/** "did you mean": the end of a message about a name that is not known. */

export function didYouMean(name: string, known: readonly string[]): string {
  const [best] = known
    .map((candidate) => ({
      candidate,
      likeness: (2 * common(name, candidate)) / (name.length + candidate.length),
    }))
    .filter(({ likeness }) => likeness >= 0.6)
    .sort((a, b) => b.likeness - a.likeness);
  return best ? `; did you mean '${best.candidate}'?` : `; known: ${known.join(", ")}`;
}

/** Letters that the two have in common in the same order. */
function common(a: string, b: string): number {
  let row = new Array<number>(b.length + 1).fill(0);
  for (const letter of a) {
    const next = [0];
    for (let j = 1; j <= b.length; j++) {
      const matched = letter === b[j - 1] ? (row[j - 1] as number) + 1 : 0;
      next.push(Math.max(row[j] as number, next[j - 1] as number, matched));
    }
    row = next;
  }
  return row[b.length] as number;
}
