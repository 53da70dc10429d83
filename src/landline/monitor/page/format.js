// Numbers as people read them. Bytes are decimal (1 kB = 1000 bytes), as on the wire and in the ledger.

const THIN = " ";
const BYTE_UNITS = ["kB", "MB", "GB", "TB", "PB"];
const COUNT_UNITS = ["k", "M", "G", "T"];
const GROUPED = new Intl.NumberFormat("en-US");

export function bytes(value) {
  return Math.abs(value) < 1000 ? `${value}${THIN}B` : scaled(value, BYTE_UNITS);
}

export function count(value) {
  return Math.abs(value) < 10_000 ? GROUPED.format(value) : scaled(value, COUNT_UNITS);
}

export function exact(value) {
  return GROUPED.format(value);
}

/** A part of a whole in percent; "–" of nothing. Never rounds something to all or to none. */
export function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  let text = share.toFixed(1);
  if (text === "100.0" && part < whole) text = "99.9";
  if (text === "0.0" && part > 0) text = "0.1";
  if (share === 0 || share === 100) text = String(share);
  return `${text.replace("-", "−")}${THIN}%`;
}

/** The saved share; if more was sent than without Landline, the difference in bytes. */
export function saved(bytesSaved, wouldHaveBeen) {
  return bytesSaved < 0 ? `−${bytes(-bytesSaved)}` : percent(bytesSaved, wouldHaveBeen);
}

/** The same as the end of a sentence. */
export function saving(bytesSaved, wouldHaveBeen) {
  return bytesSaved < 0 ? `${bytes(-bytesSaved)} more` : `${percent(bytesSaved, wouldHaveBeen)} saved`;
}

/** So many of something, as a word. */
export function counted(value, word) {
  return `${count(value)} ${word}${value === 1 ? "" : "s"}`;
}

/** A name that a client chose: what cannot be seen, or turns the text around, is shown as a replacement character. */
export function name(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "\uFFFD");
}

/** US dollars: cents from one dollar up, three digits below. */
export function dollars(value) {
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size === 0) return "$0";
  if (size >= 9999.5) return `${sign}$${scaled(size, COUNT_UNITS)}`;
  if (size >= 0.9995) return `${sign}$${size.toFixed(2)}`;
  const digits = Math.min(6, 2 - Math.floor(Math.log10(size)));
  return size < 0.000_000_5 ? `${sign}<$0.000001` : `${sign}$${size.toFixed(digits)}`;
}

/** What a cache saved, as the end of a sentence. */
export function cacheSaving(saved) {
  return saved < 0 ? `caching cost ${dollars(-saved)} more` : `caching saved ${dollars(saved)}`;
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.0095) return `${(value * 1000).toFixed(1)}${THIN}ms`;
  if (value < 0.9995) return `${Math.round(value * 1000)}${THIN}ms`;
  if (value < 59.95) return `${value.toFixed(value < 9.995 ? 2 : 1)}${THIN}s`;
  return span(value);
}

/** A longer time in its two largest units. */
export function span(value) {
  const whole = Math.max(0, Math.floor(value));
  if (whole < 60) return `${whole}${THIN}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}${THIN}min ${whole % 60}${THIN}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)}${THIN}h ${Math.floor((whole % 3600) / 60)}${THIN}min`;
  return `${Math.floor(whole / 86_400)}${THIN}d ${Math.floor((whole % 86_400) / 3600)}${THIN}h`;
}

export function clock(unixSeconds) {
  return new Date(unixSeconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

/** Three digits and a unit. */
function scaled(value, units) {
  let rest = value / 1000;
  let unit = 0;
  while (Math.abs(rest) >= 999.5 && unit < units.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  const size = Math.abs(rest);
  return `${rest.toFixed(size < 9.995 ? 2 : size < 99.95 ? 1 : 0)}${THIN}${units[unit]}`;
}
