"""The actions of the grammar: what each rule of ``dlir.lark`` builds."""
