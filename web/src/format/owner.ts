/** Each person has one colour, the same on every page and every day. */

export const OWNER_COLOURS = 10;

/** Which of the owners' colours is this person's (FNV-1a: names that are alike fall apart). */
export function ownerColour(owner: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < owner.length; i += 1) {
    hash = Math.imul(hash ^ owner.charCodeAt(i), 0x01000193) >>> 0;
  }
  return ((hash ^ (hash >>> 15)) >>> 0) % OWNER_COLOURS;
}
