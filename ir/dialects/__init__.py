"""The dialects, one module or package each; `dlir.ir.registry.DIALECTS` lists them."""
