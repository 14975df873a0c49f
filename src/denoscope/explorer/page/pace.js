// How often something is done that many events ask for.

/** A function that does something at once, and again after a rest if it was called meanwhile. */
export function paced(action, rest) {
  let timer = 0;
  let called = false;
  return function act() {
    called = Boolean(timer);
    if (timer) return;
    action();
    timer = setTimeout(() => {
      timer = 0;
      if (called) act();
    }, rest);
  };
}
