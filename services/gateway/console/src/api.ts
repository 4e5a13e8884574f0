/** The public API, as the reader whose token it is. */

/** Why a request gave nothing. `status` is 0 where no answer came; `retryAt` (ms) where the answer said when to ask again. */
export class ApiError extends Error {
  readonly status: number;
  readonly retryAt: number | null;

  constructor(status: number, message: string, retryAt: number | null = null) {
    super(message);
    this.status = status;
    this.retryAt = retryAt;
  }
}

/** An answer's body, and when it was computed (ms). */
export interface Loaded<T> {
  readonly body: T;
  readonly computedAt: number;
}

const SENTENCES: Record<number, string> = {
  0: "The server can’t be reached. Check your connection.",
  429: "There were too many requests.",
  502: "A service failed just now.",
  503: "The service is not available just now.",
  504: "The service took too long to answer.",
};

/** Asks with one token; `onRefused` is told when the token is good no longer. */
export class Api {
  readonly #token: string;
  readonly #onRefused: () => void;

  constructor(token: string, onRefused: () => void) {
    this.#token = token;
    this.#onRefused = onRefused;
  }

  /**
   * Get a resource of the API; `fresh` asks for an answer that is computed now instead of one of the caches.
   * `allowed` is another status whose body is wanted. Throws `ApiError`, or an `AbortError` once `signal` is aborted.
   */
  async get<T>(path: string, options: { signal?: AbortSignal; fresh?: boolean; allowed?: number } = {}): Promise<Loaded<T>> {
    const response = await this.#fetch(path, options);
    if (!response.ok && response.status !== options.allowed) throw await this.#failure(response);
    const date = Date.parse(response.headers.get("Date") ?? "");
    const age = Number(response.headers.get("Age") ?? 0) * 1000;
    try {
      const body = (await response.json()) as T;
      return { body, computedAt: (Number.isNaN(date) ? Date.now() : date) - age };
    } catch (error) {
      throw isAbort(error) ? error : new ApiError(0, SENTENCES[0] as string);
    }
  }

  async #fetch(path: string, { signal, fresh }: { signal?: AbortSignal; fresh?: boolean }): Promise<Response> {
    try {
      return await fetch(`/api${path}`, {
        headers: { Authorization: `Bearer ${this.#token}` },
        cache: fresh ? "reload" : "default",
        credentials: "omit",
        redirect: "error",
        signal: signal ?? null,
      });
    } catch (error) {
      throw isAbort(error) ? error : new ApiError(0, SENTENCES[0] as string);
    }
  }

  async #failure(response: Response): Promise<ApiError> {
    const told: unknown = await response.json().catch(() => null);
    const error = typeof told === "object" && told !== null && "error" in told ? String(told.error) : "The request failed";
    if (response.status === 401) this.#onRefused();
    const seconds = Number(response.headers.get("Retry-After") ?? Number.NaN);
    const retryAt = Number.isNaN(seconds) ? null : Date.now() + Math.max(1, seconds) * 1000;
    return new ApiError(response.status, SENTENCES[response.status] ?? sentence(error), retryAt);
  }
}

/** Tell whether something was given up because nobody wants it any more. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
