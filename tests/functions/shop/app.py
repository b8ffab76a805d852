"""A small shop: an order is priced, signed with a key that the secret cache hands out, and confirmed; a bad order is raised.

Without a secret cache the key is a variable, SHOP_SIGNING_KEY.
"""

import hashlib
import json
import os

from aws_lambda_powertools import Logger

CENTS = {"tea": 420, "honey": 875, "kettle": 3990}
ROUNDS = 12_000  # of the key derivation that signs: some milliseconds

logger = Logger(service="shop", level="DEBUG")
asked = 0  # how often the cache was asked


class BadOrder(Exception):
    """An order that no shop can fill."""


def signing_key():
    """Asked for with each order: a rotated key is used from the next one on."""
    global asked
    if "SHOP_SIGNING_KEY" in os.environ:
        return os.environ["SHOP_SIGNING_KEY"]
    from extension_kit.clients import secret_cache

    asked += 1
    return secret_cache.secret("shop/signing", json_key="key")


signing_key()  # in the module, when AWS's own extension is "not ready" yet


@logger.inject_lambda_context(clear_state=True)
def handler(event, context):
    logger.append_keys(order=event["order"])
    logger.debug("order received", extra={"item": event["item"], "quantity": event["quantity"]})
    if event["quantity"] < 1:
        raise BadOrder(f"order {event['order']}: {event['quantity']} of {event['item']} cannot be sent")
    cents = CENTS[event["item"]] * event["quantity"]
    order = json.dumps([event["order"], event["item"], cents]).encode()
    receipt = hashlib.pbkdf2_hmac("sha256", order, signing_key().encode(), ROUNDS).hex()[:12]
    logger.info("order confirmed", extra={"cents": cents, "card": event["card"], "receipt": receipt})
    print(f"receipt {receipt} is printed; the cache was asked {asked} times")
    return {"statusCode": 200, "order": event["order"], "cents": cents, "receipt": receipt}
