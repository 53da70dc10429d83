// The few ways in which this page touches the document. Nothing is written that is there already.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element; children are nodes or texts, properties are attributes. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) setAttribute(made, name, value);
  made.append(...children);
  return made;
}

/** An SVG element, likewise. */
export function shape(tag, properties = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) setAttribute(made, name, value);
  made.append(...children);
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A `<data>` element: what people read, and the exact number. */
export function setData(node, text, value) {
  setText(node, text);
  setAttribute(node, "value", String(value));
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, String(value));
  }
}

/** The width of a bar as a share of its track; the stylesheet reads `--share`. */
export function setShare(node, share) {
  const text = Math.max(0, Math.min(1, share || 0)).toFixed(4);
  if (node.style.getPropertyValue("--share") !== text) node.style.setProperty("--share", text);
}

/** Makes `parent` hold one node for each item, in order; nodes are kept by key. `make(item)` gives `{node, update}`. */
export class KeyedList {
  constructor(parent, keyOf, make) {
    this.parent = parent;
    this.keyOf = keyOf;
    this.make = make;
    this.entries = new Map();
  }

  /** `again` updates items that did not change, too. */
  show(items, { again = false } = {}) {
    const focused = this.parent.contains(document.activeElement) ? document.activeElement : null;
    const kept = new Map();
    let before = this.parent.firstElementChild;
    for (const item of items) {
      const key = this.keyOf(item);
      const entry = this.entries.get(key) ?? this.make(item);
      if (again || entry.item !== item) entry.update(item);
      entry.item = item;
      kept.set(key, entry);
      if (entry.node === before) before = before.nextElementSibling;
      else this.parent.insertBefore(entry.node, before);
    }
    for (const [key, entry] of this.entries) if (kept.get(key) !== entry) entry.node.remove();
    this.entries = kept;
    if (focused?.isConnected) focused.focus({ preventScroll: true }); // what is moved loses it
  }
}
