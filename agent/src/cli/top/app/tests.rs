use ratatui::{Terminal, backend::TestBackend};
use serde_json::json;

use super::*;
use crate::cli::top::view;

fn press(app: &mut App, keys: &[KeyCode]) -> Vec<After> {
    keys.iter().map(|key| app.key(KeyEvent::new(*key, KeyModifiers::NONE))).collect()
}

fn groups() -> Json {
    let group = |name: &str, rate: f64, p99: u64| {
        json!({"name": name, "count": 60, "rate": rate, "errors": 3, "error_share": 0.05, "bytes": 9,
            "p50_ns": 1_000_000, "p99_ns": p99})
    };
    json!({"groups": [group("cart", 1.0, 9_000_000), group("shop", 5.0, 2_000_000), group("\u{1b}[31mx", 0.5, 1)]})
}

fn spans() -> Json {
    json!({"spans": [{"span_id": "00f067aa0ba902b7", "trace_id": "4bf9", "name": "GET", "kind": "SERVER", "service": "shop",
        "pid": 7, "tid": 8, "start_ns": 1_000_000_000, "end_ns": 1_010_000_000, "status": "ERROR", "incomplete": null,
        "parent_span_id": "b7ad", "link": {"method": "socket", "confidence": 1.0},
        "attributes": {"url.path": "/a", "http.response.status_code": 503, "netspan.time.downstream": 5_000_000}}]})
}

fn answered(app: &mut App, json: Json) {
    let question = app.question().expect("something to ask");
    app.answer(&question, Ok(json));
}

fn screen(app: &App) -> String {
    let mut terminal = Terminal::new(TestBackend::new(110, 24)).expect("a terminal");
    terminal.draw(|frame| view::draw(frame, app)).expect("drawn");
    terminal.backend().to_string()
}

fn names(app: &App) -> Vec<&str> {
    app.rows().iter().filter_map(|row| row["name"].as_str()).collect()
}

#[test]
fn groups_are_ordered_by_the_chosen_column() {
    let mut app = App::new();
    answered(&mut app, groups());
    assert_eq!(names(&app), ["shop", "cart", "\u{1b}[31mx"]);
    press(&mut app, &[KeyCode::Char('>'); 4]);
    assert_eq!(names(&app), ["cart", "shop", "\u{1b}[31mx"], "by p99");
    press(&mut app, &[KeyCode::Char('r')]);
    assert_eq!(names(&app), ["\u{1b}[31mx", "shop", "cart"]);
    press(&mut app, &[KeyCode::Char('<'); 9]);
    assert_eq!(names(&app), ["\u{1b}[31mx", "cart", "shop"], "by name, upwards");
}

#[test]
fn the_selected_row_stays_selected_when_others_come() {
    let mut app = App::new();
    answered(&mut app, groups());
    press(&mut app, &[KeyCode::Down]);
    assert_eq!(app.rows()[app.selected()]["name"], "cart");
    let mut more = groups();
    let list = more["groups"].as_array_mut().expect("a list");
    list.push(json!({"name": "new", "rate": 3.0}));
    answered(&mut app, more);
    assert_eq!(app.rows()[app.selected()]["name"], "cart");
    press(&mut app, &[KeyCode::End, KeyCode::Down]);
    answered(&mut app, json!({"groups": []}));
    assert_eq!(app.selected(), 0);
}

#[test]
fn a_group_is_opened_down_to_one_span_and_closed_again() {
    let mut app = App::new();
    answered(&mut app, groups());
    assert_eq!(press(&mut app, &[KeyCode::Enter]), [After::Ask]);
    let question = app.question().expect("its spans");
    assert_eq!(question.path, "/v1/spans");
    assert!(question.words.contains(&("service".to_owned(), "shop".to_owned())), "{question:?}");
    answered(&mut app, spans());
    assert_eq!(press(&mut app, &[KeyCode::Enter]), [After::Draw]);
    assert_eq!(app.question(), None, "one span does not change");
    let text = screen(&app);
    for part in ["downstream", "5.00 ms", "####################", "by socket, confidence 1.0", "/a", "(thread 8)"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    press(&mut app, &[KeyCode::Esc]);
    assert_eq!(app.rows().len(), 1, "the spans are still there");
    assert_eq!(press(&mut app, &[KeyCode::Esc]), [After::Ask]);
    assert_eq!(app.view(), &View::Groups);
}

#[test]
fn an_answer_to_what_is_not_asked_any_more_is_left_alone() {
    let mut app = App::new();
    let question = app.question().expect("groups");
    press(&mut app, &[KeyCode::Tab]);
    app.answer(&question, Ok(groups()));
    assert!(app.rows().is_empty() && !app.is_answered());
    assert_eq!(app.grouping(), "path");
    press(&mut app, &[KeyCode::BackTab, KeyCode::BackTab]);
    assert_eq!(app.grouping(), "process");
}

#[test]
fn the_filter_acts_while_it_is_typed() {
    let mut app = App::new();
    answered(&mut app, groups());
    assert_eq!(press(&mut app, &[KeyCode::Char('/'), KeyCode::Char('q')]), [After::Draw, After::Ask], "q is text here");
    assert!(names(&app).is_empty());
    press(&mut app, &[KeyCode::Backspace, KeyCode::Char('C'), KeyCode::Char('a'), KeyCode::Enter]);
    answered(&mut app, groups());
    assert_eq!(names(&app), ["cart"]);
    press(&mut app, &[KeyCode::Esc]);
    answered(&mut app, groups());
    assert_eq!(names(&app).len(), 3);
    press(&mut app, &[KeyCode::Char('/')]);
    "status=5xx".chars().for_each(|c| drop(press(&mut app, &[KeyCode::Char(c)])));
    assert!(app.question().expect("groups").words.contains(&("status".to_owned(), "5xx".to_owned())));
    assert_eq!(press(&mut app, &[KeyCode::Esc, KeyCode::Char('q')]), [After::Ask, After::Quit]);
}

#[test]
fn a_refusal_is_told_and_the_rows_stay() {
    let mut app = App::new();
    answered(&mut app, groups());
    let question = app.question().expect("groups");
    app.answer(&question, Err("the agent is gone".to_owned()));
    let text = screen(&app);
    assert!(text.contains("the agent is gone") && text.contains("shop") && text.contains("per sv"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    press(&mut app, &[KeyCode::Char('?')]);
    assert!(screen(&app).contains("go back"));
}

#[test]
fn a_groups_name_becomes_the_words_that_choose_its_spans() {
    let word = |word: &str, value: &str| vec![(word.to_owned(), value.to_owned())];
    for (grouping, name, expected) in [
        ("service", "shop", word("service", "shop")),
        ("route", "GET /a", word("name", "GET /a")),
        ("path", "GET /a/{id}/b", word("path", "/a/*/b")),
        ("path", "HTTP", word("name", "HTTP")),
        ("peer", "", Vec::new()),
        ("status", "503", word("status", "503")),
        ("path", "GET /items/*/a/b/c/d/...", word("path", "/items/*/a/b/c/d/*")),
        ("process", "nginx:17", word("pid", "17")),
        ("peer", "(none)", Vec::new()),
        ("service", "(other)", Vec::new()),
    ] {
        assert_eq!(words_of(grouping, name), expected, "{grouping} {name}");
    }
}
