// The menu of everything that can be saved of a view.

import { find, say } from "./messages.js";
import { download, posterOf } from "./poster.js";
import { Saving } from "./saving.js";
import { cellsFile } from "./view_cells.js";
import { svgOf } from "./view_svg.js";

/** Let the menu act on the present view.
 *  @param present gives {address, facts, view, summary} */
export function saveMenu(menu, plane, store, present) {
  const saving = new Saving(find("saving"), find("work"));
  const actions = {
    "save-picture": async () => {
      const { tiles, area } = plane.tilesInView();
      download(await posterOf(tiles, area, present().address), "denoscope.png", "image/png");
    },
    "save-poster": () => {
      const { tiles, area } = plane.tilesInView();
      download(svgOf(present(), tiles, area), "denoscope.svg", "image/svg+xml");
    },
    "save-cells": () => download(cellsFile(present(), plane.visible(), store), "denoscope.json", "application/json"),
    "save-film": () => saving.start("film", present().address),
    "save-page": () => saving.start("page", present().address),
  };
  for (const [id, action] of Object.entries(actions)) {
    find(id).addEventListener("click", () => {
      menu.open = false;
      menu.querySelector("summary").focus();
      saved(action);
    });
  }
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  const left = (target) => {
    if (target && !menu.contains(target)) menu.open = false;
  };
  document.addEventListener("pointerdown", (event) => left(event.target));
  menu.addEventListener("focusout", (event) => left(event.relatedTarget));
}

async function saved(action) {
  try {
    await action();
  } catch (error) {
    say(error.message);
  }
}
