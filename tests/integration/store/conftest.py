from tests.support.store_fixtures import database, make_account, reused_database, store, template

__all__ = ["database", "make_account", "reused_database", "store", "template"]
