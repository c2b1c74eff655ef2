// Which lines differ between two texts.

const AROUND = 3; // lines of both that are shown beside a difference
const CELLS_MAX = 4e6; // of lines times lines: beyond, all of one goes and all of the other comes

/** Lines as `[mark, text]`: `-` gone, `+` added, a space in both, `…` where lines of both are left out. */
export function diff(before, after) {
  const [one, other] = [before.split("\n"), after.split("\n")];
  let start = 0;
  while (start < Math.min(one.length, other.length) && one[start] === other[start]) start += 1;
  let end = 0;
  while (end < Math.min(one.length, other.length) - start && one.at(-1 - end) === other.at(-1 - end)) end += 1;
  const middle = changes(one.slice(start, one.length - end), other.slice(start, other.length - end));
  if (middle.length === 0) return [];
  const same = (text) => [" ", text];
  return shortened([...one.slice(0, start).map(same), ...middle, ...one.slice(one.length - end).map(same)]);
}

/** By the longest common subsequence. */
function changes(one, other) {
  if (one.length * other.length > CELLS_MAX) return [...one.map((text) => ["-", text]), ...other.map((text) => ["+", text])];
  const width = other.length + 1;
  const common = new Uint32Array((one.length + 1) * width);
  for (let i = one.length - 1; i >= 0; i -= 1) {
    for (let j = other.length - 1; j >= 0; j -= 1) {
      common[i * width + j] = one[i] === other[j] ? common[(i + 1) * width + j + 1] + 1
        : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < one.length || j < other.length) {
    if (i < one.length && j < other.length && one[i] === other[j]) lines.push([" ", one[i++], j++].slice(0, 2));
    else if (j === other.length || (i < one.length && common[(i + 1) * width + j] >= common[i * width + j + 1])) lines.push(["-", one[i++]]);
    else lines.push(["+", other[j++]]);
  }
  return lines;
}

function shortened(lines) {
  const near = lines.map((_, at) => lines.slice(Math.max(0, at - AROUND), at + AROUND + 1).some(([mark]) => mark !== " "));
  const shown = [];
  lines.forEach((line, at) => {
    if (near[at]) shown.push(line);
    else if (at === 0 || near[at - 1]) shown.push(["…", ""]);
  });
  return shown;
}
