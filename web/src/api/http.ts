/** Asks the server. Every failure becomes a `ProblemError`, which says what, why and what to do. */
import { address, type Query } from "./address";
import type { Problem } from "./types";

export { API, address, type Query } from "./address";

export class ProblemError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail || problem.title);
    this.name = "ProblemError";
  }

  get status(): number {
    return this.problem.status;
  }
}

/** What the server did not answer, or failed at, it may answer when it is asked again; what it
 * refused stays refused. */
export function mayBeAskedAgain(error: unknown): boolean {
  return !(error instanceof ProblemError) || error.status === 0 || error.status >= 500;
}

type Listener = () => void;
const signedOut = new Set<Listener>();

/** Calls back whenever the server says that nobody is logged in. */
export function onSignedOut(listener: Listener): () => void {
  signedOut.add(listener);
  return () => void signedOut.delete(listener);
}

export async function get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  return ask<T>("GET", address(path, query), undefined, signal);
}

export async function send<T>(
  method: "POST" | "PUT" | "PATCH" | "DELETE",
  path: string,
  body?: unknown,
  query?: Query,
): Promise<T> {
  return ask<T>(method, address(path, query), body);
}

async function ask<T>(
  method: string,
  url: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<T> {
  const request: RequestInit = { method, signal, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    request.headers = { ...request.headers, "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await fetch(url, request);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ProblemError({
      title: "No connection",
      status: 0,
      detail: "the server does not answer",
      hint: "it may be restarting; this page tries again by itself",
    });
  }
  if (response.ok) {
    return (response.status === 204 ? undefined : await response.json()) as T;
  }
  const problem = await problemOf(response);
  if (response.status === 401) for (const listener of signedOut) listener();
  throw new ProblemError(problem);
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    return (await response.json()) as Problem;
  } catch {
    return { title: response.statusText || "Error", status: response.status };
  }
}
