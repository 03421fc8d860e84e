/** Which variables are not to be read over somebody's shoulder. Pure. */

/** What the server says in place of a value that the reader may not see. */
export const MASK = "***";

const SECRET = /(?:^|_)(?:(?:API_?)?KEY|TOKEN|SECRET|PASSWORD|PASSWD|PWD|CREDENTIALS?)$/i;

/** Whether a variable's name says that it holds a secret (`WANDB_API_KEY`). */
export function looksSecret(name: string): boolean {
  return SECRET.test(name);
}
