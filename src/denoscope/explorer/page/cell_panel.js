// The panel of a cell of a stored map: its label, and how that is known.

const HOW = {
  outside: "The map ends before this point.",
  unknown: "The cell is not computed yet.",
  computed: "The cell was computed: its noise was denoised and classified.",
  backed: "The cell was filled in with the class of the nearest computed cell, whose margin is larger than what it can lose in between.",
  probed: "The cell was filled in, because the computed cells around it agree.",
};

/** Show what the server says about a cell. */
export function showCell(root, cell) {
  const find = (id) => root.querySelector(`#${id}`);
  find("panel-hint").hidden = true;
  find("point").hidden = false;
  find("point-title").textContent = titleOf(cell);
  find("point-facts").textContent = factsOf(cell).join(" · ");
  find("how-known").textContent = `${HOW[cell.status]}${cell.finite === false ? " Its image is not finite." : ""}`;
}

function titleOf({ label }) {
  if (label === undefined) return "No label";
  return label < 0 ? "No class" : `Becomes ${label}`;
}

function factsOf(cell) {
  if (cell.u === undefined) return [];
  const place = `(u, v) = (${number(cell.u)}, ${number(cell.v)}), row ${cell.row}, column ${cell.column}`;
  const shares = ["confidence", "margin", "likeness"].filter((name) => typeof cell[name] === "number");
  return [place, ...shares.map((name) => `${name} ${cell[name].toFixed(3)}`)];
}

function number(value) {
  return String(Number(value.toPrecision(10)));
}
