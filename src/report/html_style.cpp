#include "report/html_style.h"

namespace crucible {

// Colours of series are those of Okabe and Ito, darker on white and lighter on black until text in them is readable; every series has a
// marker and a dash of its own as well.
const std::string_view kStyle = R"css(
:root{--bg:#fcfcfb;--card:#fff;--ink:#191b1e;--soft:#595f66;--line:#dfe2e5;--link:#0a57a4;--good:#0b6a3e;--good-bg:#e6f3eb;--bad:#b0241c;
--bad-bg:#fbeae8;--warn:#835000;--warn-bg:#fbf1df;--heat:0 114 178;--step:.055;--band:#eceef0;--c0:#0072b2;--c1:#bf4d00;--c2:#007d5a;--c3:#a63d79;--c4:#5b4bc4;--c5:#7a6200}
@media (prefers-color-scheme:dark){:root{--bg:#121416;--card:#191c1f;--ink:#e7e9eb;--soft:#a2a9b0;--line:#30353a;--link:#7cbcf5;--good:#72d39e;
--good-bg:#14291e;--bad:#ff938b;--bad-bg:#34191a;--warn:#efb45c;--warn-bg:#2e2413;--heat:70 165 225;--step:.046;--band:#24282c;--c0:#5cb8ee;--c1:#ff9a5c;--c2:#35cf9f;--c3:#ea9fc7;--c4:#ab9eff;--c5:#e2c547}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1120px;margin:0 auto;padding:24px 16px 64px}
section{margin:0 0 44px;min-width:0}
h1{font-size:1.6rem;line-height:1.2;margin:0;overflow-wrap:anywhere;letter-spacing:-.01em}
h2{font-size:1.15rem;line-height:1.3;margin:0 0 8px}
p{margin:0 0 12px;max-width:76ch;overflow-wrap:anywhere}
a{color:var(--link)}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.92em;unicode-bidi:isolate}
p code,li code,dd code,.remedies code,figcaption code{overflow-wrap:anywhere}
small{font-size:.82em;color:var(--soft);margin-left:.45em;font-weight:400}
.verdict{display:flex;gap:14px;align-items:flex-start;padding:18px;border:1px solid var(--line);border-left:6px solid var(--soft);border-radius:8px;background:var(--card)}
.verdict.good{border-left-color:var(--good);background:var(--good-bg)}.verdict.bad{border-left-color:var(--bad);background:var(--bad-bg)}
.icon{width:34px;height:34px;flex:none;border-radius:50%;background:var(--soft);padding:5px}
.good .icon{background:var(--good)}.bad .icon{background:var(--bad)}
.icon path{fill:none;stroke:var(--card);stroke-width:3;stroke-linecap:round;stroke-linejoin:round}
.lead{margin:4px 0 0;color:var(--soft)}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(136px,1fr));gap:14px 20px;margin:18px 0}
.facts dt{font-size:.8rem;color:var(--soft)}.facts dd{margin:0;font-size:1.1rem;font-weight:600;overflow-wrap:anywhere}
.facts small{display:block;margin:0;font-size:.8rem}
.scope{color:var(--soft)}
.remedies{border:1px solid var(--line);border-radius:8px;background:var(--card);padding:14px 18px 6px;margin-top:16px}
.remedies ul{list-style:none;margin:0;padding:0}.remedies li{border-left:3px solid var(--warn);padding-left:12px;margin:0 0 14px}
.remedies li.bad{border-color:var(--bad)}.remedies p{margin:0;font-weight:600}.remedies .do{font-weight:400}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;padding:10px 0;margin:0 0 36px;border-top:1px solid var(--line);border-bottom:1px solid var(--line);font-size:.9rem}
nav a{text-decoration:none;padding:3px 0}nav a:hover{text-decoration:underline}
.recipe{display:grid;grid-template-columns:2.6em fit-content(62%) minmax(0,1fr);column-gap:10px;list-style:none;margin:0 0 12px;padding:8px 0;border:1px solid var(--line);border-radius:8px;background:var(--card);counter-reset:n;font-size:.9rem}
.recipe li{counter-increment:n;display:grid;grid-column:1/-1;grid-template-columns:subgrid;padding:1px 14px 1px 0}
.recipe li:before{content:counter(n);color:var(--soft);text-align:right;font-size:.85em;line-height:1.75}
.recipe code{white-space:pre-wrap;overflow-wrap:anywhere}
.recipe span{grid-column:3;padding-left:14px}
.recipe em{display:block;font-style:normal;color:var(--link);overflow-wrap:anywhere;font-size:.95em}
.recipe em:before{content:"\2190\00a0";color:var(--soft)}
.recipe em.warn{color:var(--warn)}.recipe em.warn:before{content:"\26a0\00a0";color:var(--warn)}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));gap:16px;margin:0 0 14px}
.wide .panels{grid-template-columns:1fr}
figure{margin:0;border:1px solid var(--line);border-radius:8px;background:var(--card);padding:12px 12px 8px;min-width:0}
figcaption{font-weight:600;font-size:.95rem;margin:0 0 6px;overflow-wrap:anywhere}
.note{font-size:.85rem;color:var(--soft);margin:4px 0}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 16px;margin:0 0 6px;padding:0;font-size:.85rem}
.legend li{display:flex;align-items:center;gap:6px}.legend small{margin:0}
.scroll{overflow-x:auto;max-width:100%;position:relative}
.tall{max-height:30rem;overflow-y:auto;border-bottom:1px solid var(--line)}
.tall thead{position:sticky;top:0;background:var(--bg);z-index:1}
table{border-collapse:collapse;font-size:.875rem;margin:0 0 14px}
caption{text-align:left;font-weight:600;padding:6px 0;overflow-wrap:anywhere}
th,td{padding:4px 12px 4px 0;text-align:left;vertical-align:baseline;border-bottom:1px solid var(--line);unicode-bidi:isolate}
thead th{font-weight:500;color:var(--soft);font-size:.82rem;vertical-align:bottom}
tbody th{font-weight:400}
th.n,td.n{text-align:right;white-space:nowrap}
td.good{color:var(--good)}td.bad,text.bad{color:var(--bad);fill:var(--bad);font-weight:600}td.warn{color:var(--warn)}td.m{color:var(--soft)}
td.good,td.bad{white-space:nowrap}
.bar{background:linear-gradient(90deg,rgb(var(--heat)/.3) var(--v),transparent var(--v));padding-left:8px;min-width:110px}
.parameters td,.expectations td,.parameters th,.expectations th{max-width:24rem;overflow-wrap:break-word}
.expectations td:nth-child(2){min-width:15rem}
.files code{word-break:break-all}.files td:nth-child(4){min-width:11rem}
.plain thead{display:none}
.heat th,.heat td{padding:3px 8px;border:1px solid var(--bg);border-width:0 1px 1px 0}
.heat tbody td{background:rgb(var(--heat)/calc(var(--h,0)*var(--step)))}
.heat small{display:block;margin:-3px 0 0;font-size:.76em;color:inherit;opacity:.86}
.heat .groups th{text-align:left;color:var(--ink);border-bottom:1px solid var(--line)}
.heat .w{border-left:5px solid var(--bg)}
.heat tbody td.bad{outline:2px solid var(--bad);outline-offset:-2px}
.h1{--h:1}.h2{--h:2}.h3{--h:3}.h4{--h:4}.h5{--h:5}.h6{--h:6}.h7{--h:7}.h8{--h:8}.h9{--h:9}.h10{--h:10}
.heat thead th:first-child,.heat thead td:first-child,.heat tbody th{position:sticky;left:0;background:var(--bg)}
pre{margin:0 0 12px;padding:10px 12px;border:1px solid var(--line);border-radius:8px;background:var(--card);line-height:1.45}
details{margin:0 0 8px;min-width:0}
.many{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,220px),1fr));column-gap:16px}.many details{margin:0 0 2px}.many details[open]{grid-column:1/-1}
summary{cursor:pointer;color:var(--link);padding:4px 0;overflow-wrap:anywhere}
details[open]>summary{margin-bottom:6px}
.filter{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:baseline;margin:0 0 8px;font-size:.9rem}
.filter input{font:inherit;color:inherit;background:var(--card);border:1px solid var(--soft);border-radius:6px;padding:5px 10px;width:20rem;max-width:100%}
.filter output{color:var(--soft)}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
svg{display:block}
figure svg{max-width:none}
figure svg.rate,figure svg.sigma,figure svg.hist{width:100%;height:auto;max-width:520px}
figure svg.layers{width:100%;height:auto}figure svg.wide{min-width:900px}
svg text{font-size:11px;fill:var(--soft)}
text.e{text-anchor:end}text.c{text-anchor:middle}.p{font-size:8.5px}
text.bad,text.m{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}text.bad{font-size:10px}
.g{stroke:var(--line);fill:none}.a{stroke:var(--soft);fill:none}
.band{fill:var(--band)}.zero{stroke:var(--soft)}.limit{stroke:var(--bad);stroke-dasharray:2 3;opacity:.7}
.plan{stroke:var(--ink);opacity:.55}
.l{fill:none;stroke-width:1.6;stroke-linejoin:round}.l.out{stroke:var(--ink);stroke-width:2}.l.plan{stroke-width:1.5}
.f{opacity:.18;stroke:none}.f.out{fill:var(--ink);opacity:.12}
.b{fill:none;stroke-width:1.2;opacity:.8}
.s0{--c:var(--c0)}.s1{--c:var(--c1)}.s2{--c:var(--c2)}.s3{--c:var(--c3)}.s4{--c:var(--c4)}.s5{--c:var(--c5)}
.l.s0,.l.s1,.l.s2,.l.s3,.l.s4,.l.s5,.b{stroke:var(--c)}.f{fill:var(--c)}
.l.s1{stroke-dasharray:7 3}.l.s2{stroke-dasharray:2.5 2.5}.l.s3{stroke-dasharray:9 3 2 3}.l.s4{stroke-dasharray:12 3}.l.s5{stroke-dasharray:1.5 3}
.hist .l,.legend .l{stroke-dasharray:none}.hist .l.d,.legend .l.d{stroke-dasharray:4 3}
.k{fill:var(--c);stroke:var(--card);stroke-width:.8}.k .x{fill:none;stroke:var(--c);stroke-width:2}
text.t{font-size:11.5px;fill:var(--c)}text.t.out{fill:var(--ink);font-weight:600}
@media (max-width:640px){main{padding-top:12px}.recipe{grid-template-columns:2.2em minmax(0,1fr)}.recipe span{grid-column:2;padding-left:0}h1{font-size:1.35rem}
.verdict{padding:14px;gap:12px}}
@media print{:root{--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--link:#000}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
body{font-size:10.5pt}main{max-width:none;padding:0}nav,.filter{display:none}section,figure{break-inside:auto}figure,.recipe li,tr,.remedies li{break-inside:avoid}
h2{break-after:avoid}.scroll,.tall{overflow:visible;max-height:none}.tall thead,.heat th,.heat td{position:static!important}table{font-size:8.5pt}
.panels,.wide .panels{grid-template-columns:1fr 1fr}figure svg.layers,figure svg.wide{min-width:0}}
)css";

const std::string_view kScript = R"js(
for (const table of document.querySelectorAll('table[data-filter]')) {
  const rows = [...table.tBodies[0].rows], texts = rows.map(r => r.textContent.toLowerCase());
  if (rows.length < 4) continue;
  const box = document.createElement('div'), input = document.createElement('input'), count = document.createElement('output');
  box.className = 'filter';
  input.type = 'search';
  input.placeholder = table.dataset.filter;
  input.setAttribute('aria-label', table.dataset.filter);
  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !words.every(w => texts[i].includes(w));
      if (!row.hidden) ++shown;
    });
    count.textContent = shown + ' of ' + rows.length + ' rows';
  };
  input.addEventListener('input', show);
  box.append(input, count);
  table.parentNode.before(box);
  show();
}
)js";

// openssl dgst -sha256 -binary | base64, over the text between <script> and </script>.
const std::string_view kScriptHash = "sha256-YfPUPIzyBiFzGjO9IcTYb5EPCFlmlud7metXRW8EgJk=";

}  // namespace crucible
