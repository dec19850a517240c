// The frame around the views: their names, the filter, help, the theme, and the token where one is asked for.
import "./style.css";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { setToken } from "./api";
import { VIEWS, back, show, useLocation, type State, type View } from "./state";
import { FilterBar } from "./ui/filter";
import { Help } from "./ui/help";
import { listen, useKeys } from "./ui/keys";
import { Compare } from "./views/compare";
import { Flow } from "./views/flow";
import { Health } from "./views/health";
import { Live } from "./views/live";
import { Paths } from "./views/paths";
import { Search } from "./views/search";
import { Trace } from "./views/trace";

const NAMES: Record<View, string> = { live: "Live", search: "Search", trace: "Trace", flow: "Flow", paths: "Paths", compare: "Compare", health: "Health" };
const THEME = "netspan-theme";

function applyTheme(theme: string | null) {
  const isLight = theme === "light" || (theme === null && matchMedia("(prefers-color-scheme: light)").matches);
  document.documentElement.dataset.theme = isLight ? "light" : "dark";
  dispatchEvent(new Event("theme"));
}

function App() {
  const state = useLocation();
  const [round, setRound] = useState(0);
  const [isHelp, setHelp] = useState(false);
  const [needsToken, setNeedsToken] = useState(false);
  const [, setTheme] = useState("");
  const again = () => setRound((before) => before + 1);
  const turnTheme = () => {
    const theme = document.documentElement.dataset.theme === "light" ? "dark" : "light";
    localStorage.setItem(THEME, theme);
    applyTheme(theme);
    setTheme(theme);
  };
  useEffect(() => {
    const needed = () => setNeedsToken(true);
    addEventListener("token-needed", needed);
    const system = matchMedia("(prefers-color-scheme: light)");
    const changed = () => applyTheme(localStorage.getItem(THEME));
    system.addEventListener("change", changed);
    return () => {
      removeEventListener("token-needed", needed);
      system.removeEventListener("change", changed);
    };
  }, []);
  useEffect(() => {
    document.title = `${NAMES[state.view]} · netspan`;
  }, [state.view]);
  const numbers = Object.fromEntries(VIEWS.map((view, place) => [String(place + 1), () => show(view)]));
  useKeys({ ...numbers, "?": () => setHelp(true), t: turnTheme, r: again, Escape: () => void back() });
  return (
    <>
      <header class="top">
        <a class="brand" href="#/live" aria-label="netspan">
          <svg viewBox="0 0 20 16" aria-hidden="true"><rect x="0" y="0" width="20" height="3.6" rx="1.8" class="b1" /><rect x="4" y="6.2" width="11" height="3.6" rx="1.8" class="b2" /><rect x="9" y="12.4" width="7" height="3.6" rx="1.8" class="b3" /></svg>
          netspan
        </a>
        <nav aria-label="views">
          {VIEWS.map((view, place) => (
            <button key={view} type="button" aria-current={view === state.view ? "page" : undefined} onClick={() => show(view)}>
              {NAMES[view]} <kbd>{place + 1}</kbd>
            </button>
          ))}
        </nav>
        <span class="push" />
        <button type="button" class="plain" onClick={again} title="ask again (r)" aria-label="ask again">↻</button>
        <button type="button" class="plain" onClick={turnTheme} title="light or dark (t)" aria-label="light or dark">◐</button>
        <button type="button" class="plain" onClick={() => setHelp(true)} title="keys and words (?)" aria-label="help">?</button>
      </header>
      <FilterBar state={state} />
      <main>
        <Shown state={state} round={round} />
      </main>
      {isHelp && <Help onClose={() => setHelp(false)} />}
      {needsToken && <Token onGiven={() => (setNeedsToken(false), location.reload())} />}
    </>
  );
}

function Shown({ state, round }: { state: State; round: number }) {
  switch (state.view) {
    case "live": return <Live state={state} />;
    case "search": return <Search state={state} round={round} />;
    case "trace": return <Trace state={state} round={round} />;
    case "flow": return <Flow state={state} round={round} />;
    case "paths": return <Paths state={state} round={round} />;
    case "compare": return <Compare state={state} round={round} />;
    case "health": return <Health round={round} />;
  }
}

function Token({ onGiven }: { onGiven: () => void }) {
  return (
    <div class="overlay" role="dialog" aria-modal="true" aria-label="token">
      <form
        class="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          setToken(String(new FormData(event.currentTarget).get("token")));
          onGiven();
        }}
      >
        <h2>This agent asks for its token</h2>
        <p class="dim">It was started with --token or NETSPAN_TOKEN. The token is kept until this tab is closed.</p>
        <input name="token" type="password" aria-label="token" autocomplete="off" autofocus />
        <button type="submit" class="primary">Go on</button>
      </form>
    </div>
  );
}

applyTheme(localStorage.getItem(THEME));
listen();
render(<App />, document.getElementById("app")!);
