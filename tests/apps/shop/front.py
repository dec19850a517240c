"""The shop's front: Flask. It asks the catalogue (Node) and places orders (axum). It knows nothing of tracing."""
import os

import requests
from flask import Flask, abort, request

app = Flask(__name__)
catalogue = os.environ["CATALOGUE_URL"]
orders = os.environ["ORDERS_URL"]
# One session per worker process: connections are kept alive.
session = requests.Session()


def ask(url, **parameters):
    answer = session.get(url, params=parameters, timeout=10)
    if answer.status_code == 404:
        abort(404)
    answer.raise_for_status()
    return answer.json()


@app.get("/")
def home():
    return {"best": ask(f"{catalogue}/products", limit=3)}


@app.get("/product/<int:number>")
def product(number):
    return ask(f"{catalogue}/products/{number}")


@app.get("/search")
def search():
    return {"found": ask(f"{catalogue}/products", q=request.args.get("q", ""))}


@app.post("/checkout")
def checkout():
    wish = request.get_json()
    item = ask(f"{catalogue}/products/{wish['product']}")
    order = session.post(f"{orders}/orders", json={"product": item["id"], "amount": wish["amount"]}, timeout=10)
    order.raise_for_status()
    return {"order": order.json(), "price": item["price"] * wish["amount"]}, 201


@app.get("/fail")
def fail():
    raise RuntimeError("this page is broken")
