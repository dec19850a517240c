// Asks the agent. Moments in nanoseconds are beyond what a JavaScript number holds exactly, so they are kept as texts.
import { useEffect, useRef, useState } from "preact/hooks";

const MOMENTS = /"(start_ns|end_ns|from_ns|to_ns|first_ns|last_ns)":(\d{16,})/g;
const TOKEN = "netspan-token";

/** The agent refused or is not there; the message is for people. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** JSON with exact moments. A quote within a text is escaped, so the pattern fits nothing but fields. */
export const parse = (text: string): unknown => JSON.parse(text.replace(MOMENTS, '"$1":"$2"'));

export const setToken = (token: string): void => sessionStorage.setItem(TOKEN, token);

export async function ask(path: string, signal?: AbortSignal): Promise<Response> {
  const token = sessionStorage.getItem(TOKEN);
  let response: Response;
  try {
    response = await fetch(path, { signal: signal ?? null, headers: token ? { Authorization: `Bearer ${token}` } : {} });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure("the agent does not answer: is it running?", 0);
  }
  if (response.ok) return response;
  if (response.status === 401) dispatchEvent(new Event("token-needed"));
  const text = await response.text();
  let why = text;
  try {
    why = (JSON.parse(text) as { error: string }).error;
  } catch {
    // What is in between answered, not the agent.
  }
  throw new Failure(why || `the agent answered with ${response.status}`, response.status);
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return parse(await (await ask(path, signal)).text()) as T;
}

export interface Loaded<T> {
  data: T | undefined;
  error: string;
  isLoading: boolean;
}

/** The answer to a question, and the one before it until the next has come. Asked again when `path` or `round` changes. */
export function useData<T>(path: string | null, round = 0): Loaded<T> {
  const [loaded, set] = useState<Loaded<T>>({ data: undefined, error: "", isLoading: path !== null });
  const kept = useRef<T | undefined>(undefined);
  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    set((before) => ({ ...before, isLoading: true }));
    get<T>(path, stop.signal).then(
      (data) => {
        if (stop.signal.aborted) return;
        kept.current = data;
        set({ data, error: "", isLoading: false });
      },
      (error: unknown) => {
        if (!stop.signal.aborted) set({ data: kept.current, error: String((error as Error).message), isLoading: false });
      },
    );
    return () => stop.abort();
  }, [path, round]);
  return loaded;
}

/** Server-sent events by `fetch`, because `EventSource` can't carry a token. Ends with its signal, or when the agent does. */
export async function events(path: string, signal: AbortSignal, take: (kind: string, data: string) => void): Promise<void> {
  const response = await ask(path, signal);
  const reader = response.body!.pipeThrough(new TextDecoderStream() as never).getReader() as ReadableStreamDefaultReader<string>;
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      let kind = "";
      let data = "";
      for (const line of part.split("\n")) {
        if (line.startsWith("event: ")) kind = line.slice(7);
        else if (line.startsWith("data: ")) data += line.slice(6);
      }
      if (kind) take(kind, data);
    }
  }
}
