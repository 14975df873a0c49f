// The choice of samples by their label.

const NO_CLASS = "none";
const UNKNOWN = "unknown";

export class LabelFilter {
  constructor(select, changed) {
    this.select = select;
    select.addEventListener("change", () => changed(select.value));
  }

  /** List the labels that occur among rows, with their numbers of samples. */
  fill(rows, labels, chosen) {
    const counts = new Map();
    for (const row of rows) counts.set(keyOf(labels[row]), (counts.get(keyOf(labels[row])) ?? 0) + 1);
    const keys = [...counts.keys()].sort((a, b) => rank(a) - rank(b));
    if (chosen && !counts.has(chosen)) keys.push(chosen);
    const options = keys.map((key) => option(key, `${wordOf(key)} (${counts.get(key) ?? 0})`));
    this.select.replaceChildren(option("", `all (${rows.length})`), ...options);
    this.select.value = chosen;
  }
}

/** The rows with a label; all of them for an empty one. */
export function chosenRows(rows, labels, chosen) {
  return chosen ? rows.filter((row) => keyOf(labels[row]) === chosen) : rows;
}

function keyOf(label) {
  if (label === null) return UNKNOWN;
  return label < 0 ? NO_CLASS : String(label);
}

function wordOf(key) {
  return key === NO_CLASS ? "no class" : key;
}

function rank(key) {
  return { [NO_CLASS]: 1e9, [UNKNOWN]: 2e9 }[key] ?? Number(key);
}

function option(value, textContent) {
  return Object.assign(document.createElement("option"), { value, textContent });
}
