/** What a person has typed into a field for a number. */

/** A whole number, at least so much; nothing is as good as the least. */
export const whole = (value: string | number, least: number) =>
  Math.max(least, Math.floor(Number(value) || least));

/** Any number; an empty field stays empty. */
export const amount = (value: string | number): number | "" => (value === "" ? "" : Number(value));
