// The engine's clock: ages and stage times are its, whatever this machine's clock says.

let offset = 0;

export function heard(at) {
  offset = Date.parse(at) - Date.now();
}

export const now = () => Date.now() + offset;
