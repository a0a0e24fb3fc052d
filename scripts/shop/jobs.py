"""The shop's tasks. They sleep for as long as the work would take; whoever fills moves the clock instead."""

import time
from smtplib import SMTPServerDisconnected

SETTLEMENT = (
    "billing.invoices:monthly-settlement-and-reconciliation_of_all_marketplace_accounts.eu-west-1-blue"
)
PRICES = {"4006381333931": "12.50", "5010993515134": "8,90", "9780141036144": "19.00"}


def fetch_orders(job):
    job.workspace["source"]["bytes"] = 48_211_904
    job.workspace["rows"] = 18_240
    time.sleep(2.4)


def parse_orders(job):
    job.workspace["columns"] = ["order", "ean", "amount", "price", "currency"]
    for number, price in enumerate(PRICES.values(), start=1840):
        job.workspace["parsed"] = number
        time.sleep(0.3)
        read_price(price, number, job.workspace.get("decimal_comma", False))


def read_price(text, row, decimal_comma):
    try:
        return round(float(text.replace(",", ".") if decimal_comma else text) * 100)
    except ValueError as error:
        raise ValueError(f"row {row}: the price {text!r} is no number") from error


def store_orders(job):
    time.sleep(11.2)
    job.workspace["stored"] = {"new": 17_904, "known": 336}


def render_receipt(job):
    job.workspace["html_bytes"] = 14_310
    time.sleep(0.08)


def send_receipt(job):
    time.sleep(0.4)
    if job.workspace.get("provider") == "smtp-2":
        raise SMTPServerDisconnected("Connection unexpectedly closed")
    job.workspace["message_id"] = "0c9e1f@mail.shop.example"


def collect_figures(job):
    job.workspace["accounts"] = 1_204
    time.sleep(38)


def draw_charts(job):
    job.workspace["charts"] = ["revenue", "returns", "stock"]
    time.sleep(12)


def publish_report(job):
    job.workspace["published"] = "reports/2026-02.pdf"
    time.sleep(1.5)


def resize_picture(job):
    job.workspace["sizes"] = [160, 480, 1280]
    time.sleep(0.7)


def export_catalogue(job):
    time.sleep(90)


JOBS = {
    "import_orders": {
        "tasks": ["shop.jobs.fetch_orders", "shop.jobs.parse_orders", "shop.jobs.store_orders"],
        "queue_name": "imports",
        "max_attempts": 2,
        "backoff": 10,
        "timeout": 300,
    },
    "send_receipt": {
        "tasks": ["shop.jobs.render_receipt", "shop.jobs.send_receipt"],
        "queue_name": "mail",
        "max_attempts": 5,
    },
    "monthly_report": {
        "tasks": ["shop.jobs.collect_figures", "shop.jobs.draw_charts", "shop.jobs.publish_report"],
        "queue_name": "reports",
        "timeout": 3600,
    },
    "resize_picture": ["shop.jobs.resize_picture"],
    "export_catalogue": {"tasks": ["shop.jobs.export_catalogue"], "priority": -10},
    SETTLEMENT: {
        "tasks": ["shop.jobs.collect_figures", "shop.jobs.draw_charts", "shop.jobs.publish_report"],
        "queue_name": "reports",
    },
}
