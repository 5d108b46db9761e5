from tests.support.store_fixtures import database, make_account, store, template

__all__ = ["database", "make_account", "store", "template"]
