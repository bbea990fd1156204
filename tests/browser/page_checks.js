// What is wrong with a page as it stands: text that runs out of it, letters that no font has, faint text.
(() => {
  const found = [];
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) found.push(`the page is ${root.scrollWidth} wide, the window ${innerWidth}`);
  const named = e => e.tagName.toLowerCase() + (e.className && e.className.baseVal === undefined ? "." + e.className : "")
    + " " + (e.textContent || "").trim().slice(0, 40);
  for (const e of document.body.querySelectorAll("*")) {
    const style = getComputedStyle(e);
    if (/auto|scroll/.test(style.overflowX) && e.scrollWidth > e.clientWidth + 1) found.push(`must be pushed sideways: ${named(e)}`);
    const box = e.getBoundingClientRect();
    if (box.width && box.right > innerWidth + 1 && !e.closest("svg")) found.push(`runs out of the window: ${named(e)}`);
  }
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  canvas.canvas.width = canvas.canvas.height = 40;
  const drawn = (letter, font) => {
    canvas.clearRect(0, 0, 40, 40); canvas.font = "24px " + font; canvas.fillText(letter, 4, 30);
    return canvas.getImageData(0, 0, 40, 40).data.join();
  };
  const seen = new Set(), none = {};
  const exact = c => {  // any colour that CSS knows, as sRGB
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1);
    const d = canvas.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255];
  };
  const light = c => {
    const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = e => {
    for (let at = e; at; at = at.parentElement) { const c = exact(getComputedStyle(at).backgroundColor); if (c[3] > 0.99) return c; }
    return exact(matchMedia("(prefers-color-scheme: dark)").matches ? "#121212" : "#fff");
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode, e = node.parentElement, words = node.data.trim();
    if (!words || ["SCRIPT", "STYLE", "TITLE"].includes(e.tagName.toUpperCase()) || !e.checkVisibility()) continue;
    const style = getComputedStyle(e), font = style.fontFamily;
    const english = document.documentElement.lang === "ja" && words.replace(/wg-(client|server|audit)( [a-z-]+)*/g, "").match(/[a-z]{2,}( [a-z]{2,}){2,}/);
    if (english && !e.closest("code, pre, kbd, samp, [lang=en], [translate=no]")) found.push(`English on a Japanese page: ${english[0]}`);
    for (const letter of words) {
      if (letter < "\u0080" || seen.has(letter + font)) continue;
      seen.add(letter + font);
      none[font] ??= drawn("\u{10fffe}", font);
      if (drawn(letter, font) === none[font]) found.push(`no font has ${letter} (${letter.codePointAt(0).toString(16)})`);
    }
    const size = parseFloat(style.fontSize) * (e.getScreenCTM ? Math.hypot(e.getScreenCTM().a, e.getScreenCTM().b) : 1);
    if (size < 10) found.push(`text of ${size.toFixed(1)} px: ${named(e)}`);
    const ink = exact(e.closest("svg") ? style.fill : style.color), paper = behind(e);
    const [a, b] = [light(ink.slice(0, 3)), light(paper.slice(0, 3))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`contrast ${ratio.toFixed(2)}: ${named(e)}`);
  }
  return JSON.stringify([...new Set(found)]);
})()
