// Places, follows, amends and cancels with a generated client; the test reads what it prints.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Order = components["schemas"]["Order"];

declare const process: { env: Record<string, string | undefined> };

const client = createClient<paths>({
  baseUrl: process.env.ENGINE_URL ?? "",
  headers: { Authorization: `Bearer ${process.env.ENGINE_API_KEY}` },
});

// Returns what an order ended with, read again and again.
async function ended(orderId: string): Promise<Order> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const { data, error } = await client.GET("/api/orders/{order_id}", { params: { path: { order_id: orderId } } });
    if (error) throw new Error(error.error.message);
    if (["confirmed", "failed", "cancelled", "expired"].includes(data.status)) return data;
    if (Date.now() > deadline) throw new Error(`${orderId} is still ${data.status}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

// The compiler knows which facts come with which kind.
function outcome({ result }: Order): string {
  switch (result.kind) {
    case "confirmed":
      return `confirmed ${result.amountOut} ${result.fees.venueFeeToken}`;
    case "cancelled":
      return `cancelled ${result.reason}`;
    case "failed":
      return `failed ${result.code}`;
    default:
      return result.kind;
  }
}

const market = await client.POST("/api/orders/execute", {
  body: { type: "market", tokenIn: "SOL", tokenOut: "USDC", amount: "1.5", slippageBps: 2000, clientOrderId: "ts-market" },
});
if (market.error) throw new Error(market.error.error.message);
console.log(outcome(await ended(market.data.orderId)));

const limit = await client.POST("/api/orders/execute", {
  body: { type: "limit", tokenIn: "SOL", tokenOut: "USDC", amount: "2", limitPrice: "1000" },
});
if (limit.error) throw new Error(limit.error.error.message);
const path = { order_id: limit.data.orderId };
const amended = await client.PATCH("/api/orders/{order_id}", {
  params: { path, header: { "If-Match": '"1"' } },
  body: { limitPrice: "1001.5" },
});
if (amended.error) throw new Error(amended.error.error.message);
console.log(amended.data.limitPrice, amended.data.seq);

const stale = await client.PATCH("/api/orders/{order_id}", {
  params: { path, header: { "If-Match": '"1"' } },
  body: { limitPrice: "1002" },
});
console.log(stale.response.status, stale.error?.error.code);

const cancelled = await client.DELETE("/api/orders/{order_id}", { params: { path } });
if (cancelled.error) throw new Error(cancelled.error.error.message);
console.log(outcome(cancelled.data));

const told = await client.GET("/api/orders/{order_id}/events", { params: { path } });
if (told.error) throw new Error(told.error.error.message);
for (const event of told.data.events) {
  console.log(event.kind === "amended" ? `amended ${event.amended.limitPrice?.to}` : event.status);
}
