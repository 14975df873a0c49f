// The state of a sheet and its address: what a link restores.

import { fieldsOf, namesOf } from "./view_state.js";

const FIELDS = ["run", "label", "page", "sample", "other", "step", "layers"];

/** The state that an address names. What is missing or malformed takes its default. */
export function stateOf(address) {
  const fields = fieldsOf(address);
  const number = (name) => (/^[0-9]{1,9}$/.test(fields.get(name) ?? "") ? Number(fields.get(name)) : null);
  return {
    run: fields.get("run") ?? null,
    label: fields.get("label") ?? "",
    page: Math.max(number("page") ?? 1, 1),
    sample: fields.get("sample") || null,
    other: fields.get("other") || null,
    step: number("step"),
    layers: namesOf(fields.get("layers")),
  };
}

/** The address of a state: `stateOf` is its inverse. */
export function addressOf(state) {
  const fields = new URLSearchParams();
  const texts = { ...state, page: state.page > 1 ? state.page : null, layers: state.layers.join(",") };
  for (const name of FIELDS) if (texts[name] !== null && texts[name] !== "") fields.set(name, String(texts[name]));
  return "#" + fields.toString().replaceAll("%2C", ",");
}
