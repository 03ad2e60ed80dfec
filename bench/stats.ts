/**
 * Statistics of repeated measurements.
 *
 * Owns the arithmetic only. The median, not the mean: one run that lost the processor to another
 * program must not move the figure.
 */

/** Several readings of one thing, in one unit. */
export interface Spread {
  median: number;
  min: number;
  max: number;
  /** How many readings there were. */
  count: number;
}

/** The middle reading, or the mean of the two middle ones. Throws RangeError without readings. */
export function median(readings: readonly number[]): number {
  const sorted = [...readings].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  if (upper === undefined) throw new RangeError("median: no readings");
  if (sorted.length % 2 === 1) return upper;
  return (sorted[(sorted.length >> 1) - 1]! + upper) / 2;
}

/** Median and extremes. Throws RangeError without readings. */
export function spread(readings: readonly number[]): Spread {
  return {
    median: median(readings),
    min: Math.min(...readings),
    max: Math.max(...readings),
    count: readings.length,
  };
}
