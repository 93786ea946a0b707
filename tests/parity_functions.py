def checks():
    return {}
