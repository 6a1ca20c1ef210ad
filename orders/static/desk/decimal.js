// Decimal arithmetic on texts, for amounts and prices that are sent: exact, and rounded the way that is named.

const PLAIN = /^\d*\.?\d*$/;

// ".5" and "5." are numbers too; anything that is none is left for the API to refuse.
export function numeral(text) {
  if (!PLAIN.test(text) || !/\d/.test(text)) return text;
  return text.replace(/^\./, "0.").replace(/\.$/, "");
}

const ratio = (text) => {
  const [whole, part = ""] = text.split(".");
  return [BigInt(whole + part), 10n ** BigInt(part.length)];
};

export const isAbove0 = (text) => PLAIN.test(text) && Number(text) > 0;
export const product = (a, b, step, up = false) => steps(ratio(a), ratio(b), step, up);
export const quotient = (a, b, step, up = false) => steps(ratio(a), ratio(b).reverse(), step, up);

// A product as a whole number of steps, of a tick or of a token's smallest unit.
function steps([n, d], [m, e], step, up) {
  const [units, scale] = ratio(step);
  const [over, under] = [n * m * scale, d * e * units];
  const count = over / under + (up && over % under ? 1n : 0n);
  return plain(count * units, step.split(".")[1]?.length || 0);
}

function plain(units, places) {
  const digits = String(units).padStart(places + 1, "0");
  const [whole, part] = [digits.slice(0, digits.length - places), digits.slice(digits.length - places).replace(/0+$/, "")];
  return part ? `${whole}.${part}` : whole;
}

// The smallest unit of a token.
export const unit = ({ decimals }) => (decimals ? `0.${"0".repeat(decimals - 1)}1` : "1");
