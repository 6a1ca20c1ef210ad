// The engine's HTTP door.  Every refusal is a Refused with the API's own words.

const ANSWER_MS = 10_000;

export class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
    this.fields = error.fields || [];
  }
}

// Shows the server that this page, and no other site's, sends what changes something.
function proof(method) {
  if (method === "GET") return {};
  const token = /(?:^|; )engine_csrf=([^;]+)/.exec(document.cookie);
  return token ? { "X-CSRFToken": token[1] } : {};
}

// Raises Refused for an answer that is an error, TypeError or AbortError when there was none.
async function ask(method, path, { body, headers = {}, signal } = {}) {
  const timeout = AbortSignal.timeout(ANSWER_MS);
  const answer = await fetch(path, {
    method,
    headers: { ...proof(method), ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    cache: "no-store",
  });
  if (answer.status === 401) location.assign(`/login/?next=${encodeURIComponent(location.pathname + location.search)}`);
  const found = await answer.json().catch(() => null);
  if (answer.ok && found !== null) return found;
  throw new Refused(answer.status, found?.error || { code: "unreadable", message: `the server answered ${answer.status}` });
}

export const candles = (pair, query) => ask("GET", `/api/candles/${encodeURIComponent(pair)}?${new URLSearchParams(query)}`);
// What is not ready answers 503, with the same parts.
export async function readiness() {
  const answer = await fetch("/readyz", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
  return answer.json();
}
export const pairs = async () => (await ask("GET", "/api/pairs")).results;
export const balances = async () => (await ask("GET", "/api/balances")).results;
export const positions = async () => (await ask("GET", "/api/positions")).results;
export const named = (clientOrderId) => ask("GET", `/api/orders/by-client-id/${clientOrderId}`);
export const estimate = (order, signal) => ask("POST", "/api/orders/estimate", { body: order, signal });
export const place = (order) => ask("POST", "/api/orders/execute", { body: order });
export const cancelAll = (pair) => ask("DELETE", `/api/orders?${new URLSearchParams({ pair })}`);
export const cancel = (id) => ask("DELETE", `/api/orders/${id}`);
export const amend = (id, seq, changes) =>
  ask("PATCH", `/api/orders/${id}`, { body: changes, headers: { "If-Match": `"${seq}"` } });

// The address of the orders that these filters choose.
export function listed(filters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filters)) {
    for (const one of [value].flat()) if (one) query.append(name, one);
  }
  return `/api/orders?${query}`;
}

export const list = (filters, signal) => ask("GET", listed(filters), { signal });

// The API names the next page by its whole address; only the query is ours to use.
export const page = (address, signal) => ask("GET", `/api/orders${new URL(address).search}`, { signal });
